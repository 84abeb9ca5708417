"""Rules over several processes: numbered here, armed in the shards that have servers they are for.

A rule that counts (`times`, `after`, the n-th connection) does so in one place, and shards cannot count together
without asking each other at every request. So such a rule has to be for servers of one shard, and is refused otherwise.
All else a rule decides server by server, by the same dice as in one process; and a script is played by each server for
itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetsim.control.driven import Described
from fleetsim.errors import ControlError, RuleError
from fleetsim.faults.rules import Rule
from fleetsim.faults.scripts import ScriptRule
from fleetsim.shards.shard import Shard, ShardState
from fleetsim.shards.together import together

__all__ = ["ShardedRules"]


@dataclass(frozen=True, slots=True)
class _Armed:
    number: int
    rule: Rule | ScriptRule
    homes: tuple[Shard, ...]
    due: float


class ShardedRules:
    """The rules at work on `shards`, whose servers have these `tags`. All calls are for the fleet's loop."""

    def __init__(self, shards: Sequence[Shard], tags: Sequence[Mapping[str, str]]) -> None:
        self._shards, self._tags = shards, dict(enumerate(tags, shards[0].servers[0]))
        self._armed: dict[int, _Armed] = {}
        self._count = 0

    def homes(self, rule: Rule | ScriptRule) -> tuple[Shard, ...]:
        """Return the shards with servers that `rule` is for. Raises RuleError for none, or too many to count."""
        homes = tuple(shard for shard in self._shards if self._is_for(rule, shard))
        if not homes:
            wanted = ", ".join(f"{word}={value!r}" for word, value in rule.where.written().items())
            raise RuleError(f"where: expected one of servers {min(self._tags)} to {max(self._tags)}, got {wanted}")
        if len(homes) > 1 and isinstance(rule, Rule):
            _check_counts_nothing(rule, homes)
        return homes

    def _is_for(self, rule: Rule | ScriptRule, shard: Shard) -> bool:
        return any(rule.where.is_for_server(index, self._tags[index]) for index in shard.servers)

    def add(self, rule: Rule | ScriptRule, *, number: int | None = None) -> int:
        """Note `rule` for the shards that are still to start, and return its number, the next one unless one is given.

        Raises what `homes` raises.
        """
        homes = self.homes(rule)
        self._count = self._count + 1 if number is None else number
        due = _now() + rule.for_ if isinstance(rule, Rule) and rule.for_ is not None else math.inf
        self._armed[self._count] = _Armed(self._count, rule, homes, due)
        return self._count

    async def arm(self, rule: Rule | ScriptRule) -> Described:
        """Arm `rule`, and return its account when it holds. Raises what `homes` raises, and ControlError when none of
        its shards serves. Cancelling it may leave it armed."""
        homes = self.homes(rule)
        serving = [shard for shard in homes if shard.state is ShardState.SERVING]
        if not serving:
            raise ControlError(f"{', '.join(map(str, homes))}: expected one that serves, for {_name(rule)}")
        number = self.add(rule)
        accounts = await together(shard.call("arm", number=number, rule=rule.written()) for shard in serving)
        return _summed(self._armed[number], accounts)

    def for_start(self, shard: Shard) -> list[Described]:
        """Return what `shard` has to arm as it starts, with the time that is left to it."""
        return [
            {"number": armed.number, "rule": _what_is_left(armed).written()}
            for armed in self._armed.values()
            if shard in armed.homes and armed.due > _now()
        ]

    async def accounts(self) -> list[Described]:
        """Return every rule armed and not removed, with its counts over the shards that serve."""
        shards = self._serving()
        listed = await together(shard.call("rules") for shard in shards)
        return [_summed(armed, [each for rules in listed for each in rules]) for armed in self._armed.values()]

    async def remove(self, number: int) -> Described | None:
        """Remove a rule from its shards, and return its last counts; None when there is no such rule."""
        armed = self._armed.pop(number, None)
        if armed is None:
            return None
        homes = [shard for shard in armed.homes if shard.state is ShardState.SERVING]
        last = await together(shard.call("remove", number=number) for shard in homes)
        return _summed(armed, [each for each in last if each is not None])

    async def clear(self) -> int:
        """Remove all, and return how many there were."""
        count = len(self._armed)
        self._armed.clear()
        await together(shard.call("clear") for shard in self._serving())
        return count

    def _serving(self) -> list[Shard]:
        return [shard for shard in self._shards if shard.state is ShardState.SERVING]


def _check_counts_nothing(rule: Rule, homes: Sequence[Shard]) -> None:
    counting = {"times": rule.times, "after": rule.after or None, "where: connection": rule.where.connection}
    for word, value in counting.items():
        if value is not None:
            spans = "; ".join(shard.span for shard in homes)
            raise RuleError(
                f"{word}: expected none for servers of several processes, which cannot count together, got {value};"
                f" each process has its own: {spans}"
            )


def _name(rule: Rule | ScriptRule) -> str:
    return rule.fault.name if isinstance(rule, Rule) else "a script"


def _what_is_left(armed: _Armed) -> Rule | ScriptRule:
    if isinstance(armed.rule, ScriptRule) or armed.due == math.inf:
        return armed.rule
    return dataclasses.replace(armed.rule, for_=armed.due - _now())


def _summed(armed: _Armed, accounts: Sequence[Described]) -> Described:
    own = [each for each in accounts if each["number"] == armed.number]
    return {
        "number": armed.number,
        **armed.rule.written(),
        "armed": sum(each["armed"] for each in own),
        "fired": sum(each["fired"] for each in own),
        "over": all(each["over"] for each in own),
        **({"left": _left(own)} if isinstance(armed.rule, ScriptRule) else {}),
    }


def _left(accounts: Sequence[Described]) -> Described:
    return {server: steps for each in accounts for server, steps in each["left"].items()}


def _now() -> float:
    return asyncio.get_running_loop().time()
