"""What can be asked of a fleet that is driven from outside, in words that JSON can carry."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

from fleetsim.faults.rules import ArmedRule, Rule
from fleetsim.faults.scripts import ArmedScript, ScriptRule

if TYPE_CHECKING:
    from fleetsim.fleet import Fleet

__all__ = ["Described", "Driven", "DrivenFleet"]

Described = dict[str, Any]


class Driven(Protocol):
    """A fleet, wherever its servers run. `server` and rules use its own indices, which begin at 0."""

    def __len__(self) -> int: ...

    async def servers(self) -> list[Described]:
        """Where each server is, its state, tags and figures."""
        ...

    async def figures(self, server: int | None = None) -> Described:
        """The ledger's figures, of one server or of all."""
        ...

    async def rules(self) -> list[Described]:
        """The rules and scripts that have been armed and not removed, with their counts."""
        ...

    async def arm(self, rule: Rule | ScriptRule) -> Described:
        """Arm it, and return when it holds. Raises RuleError when it is for no server."""
        ...

    async def remove(self, number: int) -> Described | None:
        """Remove a rule, and return it with its last counts when it holds no more; None when there is no such rule."""
        ...

    async def clear(self) -> int:
        """Remove all rules, and return how many there were."""
        ...


class DrivenFleet:
    """A `Fleet` in this loop as a `Driven`. Its servers may begin at another index than 0."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __len__(self) -> int:
        return len(self._fleet)

    async def servers(self) -> list[Described]:
        return [
            {
                "index": server.index,
                "url": server.url,
                "state": server.state.value,
                "tags": server.tags,
                "open_now": server.ledger.open_now,
                "in_flight": server.ledger.in_flight,
                "requests": server.ledger.requests,
            }
            for server in self._fleet
        ]

    async def figures(self, server: int | None = None) -> Described:
        ledger = self._fleet.ledger if server is None else self._fleet[server - self._fleet[0].index].ledger
        return dataclasses.asdict(ledger.snapshot())

    async def rules(self) -> list[Described]:
        there: list[ArmedRule | ArmedScript] = [*self._fleet.faults.rules(), *self._fleet.faults.scripts()]
        return [self._described(armed) for armed in sorted(there, key=lambda armed: armed.number)]

    async def arm(self, rule: Rule | ScriptRule, *, number: int | None = None) -> Described:
        """As `Driven.arm`; `number` is the rule's where another numbers them."""
        armed = self._fleet.faults.arm_any(rule, number=number)
        await self._fleet.faults.settled()
        return self._described(armed)

    async def remove(self, number: int) -> Described | None:
        armed = self._fleet.faults.find(number)
        if armed is None:
            return None
        armed.remove()
        await self._fleet.faults.settled()
        return self._described(armed)

    async def clear(self) -> int:
        removed = self._fleet.faults.clear()
        await self._fleet.faults.settled()
        return removed

    def _described(self, armed: ArmedRule | ArmedScript) -> Described:
        left = {"left": armed.left} if isinstance(armed, ArmedScript) else {}
        return {
            "number": armed.number,
            **armed.rule.written(),
            "armed": armed.armed,
            "fired": armed.fired,
            "over": self._fleet.faults.is_over(armed),
            **left,
        }
