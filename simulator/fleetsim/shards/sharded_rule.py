"""A rule at work over several processes, as whoever armed it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fleetsim.faults.rules import Rule

if TYPE_CHECKING:
    from fleetsim.shards.rules import ShardedRules

__all__ = ["RuleAccount", "ShardedRule"]


@dataclass(frozen=True, slots=True)
class RuleAccount:
    """What `ArmedRule` counts, summed over the processes: occasions it was meant for, those it struck, whether it will
    never strike again."""

    armed: int
    fired: int
    over: bool


class ShardedRule:
    """Rule number `number` of a fleet. A context manager: leaving it removes the rule, which `remove` does too."""

    def __init__(self, rule: Rule, number: int, rules: ShardedRules) -> None:
        self.rule, self.number = rule, number
        self._rules = rules

    def __repr__(self) -> str:
        return f"<ShardedRule {self.number} {self.rule.fault.written()}>"

    async def account(self) -> RuleAccount | None:
        """Return what it has counted so far; None when it has been removed. Raises ControlError when a shard goes
        meanwhile. Any number may ask at once."""
        for each in await self._rules.accounts():
            if each["number"] == self.number:
                return RuleAccount(each["armed"], each["fired"], each["over"])
        return None

    async def remove(self) -> RuleAccount | None:
        """Take it off its servers, and return its last counts; None when it was removed before."""
        last = await self._rules.remove(self.number)
        return None if last is None else RuleAccount(last["armed"], last["fired"], last["over"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.remove()
