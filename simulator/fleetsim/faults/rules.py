"""The rules that choose faults: what a rule says (`Rule`), and when it strikes (`ArmedRule`).

Decisions only: no I/O, no clock but the `now` passed in (seconds of the fleet's loop), no chance but seeded.

Guarantees. A rule decides about each occasion (an accepted connection, for a fault of the stage *connect*; a request
for a websocket, for one of the stage *websocket*; a request, for all others) in this order: is it over (`times`,
`for_`), is the occasion meant (`where`), is it one to let pass (`after`), does the die say so (`rate`). `armed` counts
the occasions that were meant while the rule was not over, `fired` those it struck. Rules know nothing of each other, so
they overlap freely and come off independently.

What is hard: a rule on many servers must strike the same requests of server 3 for the same seed, however the requests
to the others fall in between. So each server has a die of its own.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from fleetsim.errors import FaultError, RuleError
from fleetsim.faults.catalogue import Fault, Stage, parse_fault
from fleetsim.faults.kinds import Standing
from fleetsim.faults.where import Where, as_where
from fleetsim.records import ConnectionLine, RequestLine
from fleetsim.units import parse_duration

__all__ = ["ArmedRule", "Rule", "as_fault"]


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_fraction(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _is_seed(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _is_times(value: object) -> bool:
    return value is None or _is_count(value, 1)


def _is_for(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isfinite(value) and value > 0)


_RULE_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "rate": (_is_fraction, "a number from 0 to 1"),
    "times": (_is_times, "a whole number of at least 1, or none for ever"),
    "after": (lambda value: _is_count(value, 0), "a whole number of occasions to let pass"),
    "for": (_is_for, "a duration above 0, such as 10s"),
    "seed": (_is_seed, "a whole number"),
}
_OF_REQUESTS = ("route", "header", "request")
_OF_CHOICE: dict[str, object] = {"rate": 1.0, "times": None, "after": 0, "seed": None}


@dataclass(frozen=True, slots=True, repr=False)
class Rule:
    """One fault and when it is to strike.

    - `fault`: a Fault, or its written form such as `reset;after=200`.
    - `rate`: the share of occasions it strikes, drawn from `seed` (None: from the fleet's).
    - `times`: how often at most; None for ever. `after`: how many occasions pass before.
    - `for_`: seconds, or a duration such as `10s`, after which it heals itself; None never does. It counts from when
      the rule is armed, or from the fleet's start where that comes later.
    - `where`: which connections and requests it is for.

    Raises RuleError naming the field, the value and what was expected; FaultError for a fault that cannot be.
    """

    fault: Fault
    rate: float = 1.0
    times: int | None = None
    after: int = 0
    for_: float | None = None
    where: Where = field(default_factory=Where)
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fault", as_fault(self.fault))
        object.__setattr__(self, "for_", _seconds(self.for_))
        object.__setattr__(self, "where", as_where(self.where))
        for name, (accepts, expected) in _RULE_CHECKS.items():
            value = getattr(self, "for_" if name == "for" else name)
            if not accepts(value):
                raise RuleError(f"{name}: expected {expected}, got {value!r}")
        self._check_stage()

    def _check_stage(self) -> None:
        given = self.where.written()
        if self.is_standing:
            self._check_standing(given)
            return
        senseless = [name for name in _OF_REQUESTS if name in given]
        if self.is_for_connections and senseless:
            raise RuleError(
                f"where: {senseless[0]}: expected none for {self.fault.name}, which strikes before any request,"
                f" got {given[senseless[0]]!r}"
            )

    def _check_standing(self, where: Mapping[str, object]) -> None:
        given = {name: getattr(self, name) for name, default in _OF_CHOICE.items() if getattr(self, name) != default}
        given |= {f"where: {name}": value for name, value in where.items() if name not in ("server", "tag")}
        for name, value in given.items():
            raise RuleError(
                f"{name}: expected none for {self.fault.name}, which holds for a server as a whole, got {value!r}"
            )

    def __repr__(self) -> str:
        return f"Rule({', '.join(f'{word}={value!r}' for word, value in self.written().items())})"

    @property
    def is_for_connections(self) -> bool:
        """Whether it strikes connections as they are accepted, and not requests."""
        return self.fault.stage is Stage.CONNECT

    @property
    def is_for_websockets(self) -> bool:
        """Whether it strikes requests for a websocket, and no others."""
        return self.fault.stage is Stage.WEBSOCKET

    @property
    def is_standing(self) -> bool:
        """Whether it holds for a server as a whole, and chooses neither connections nor requests."""
        return isinstance(self.fault, Standing)

    @classmethod
    def make(
        cls,
        fault: str | Fault,
        parameters: Mapping[str, object],
        *,
        for_: float | str | None,
        where: Where | Mapping[str, Any] | None,
        **words: Any,
    ) -> Self:
        """Return a rule from what is written in Python; `parameters` are the fault's. Raises RuleError, FaultError."""
        return cls(as_fault(fault, parameters), for_=_seconds(for_), where=as_where(where), **words)

    @classmethod
    def parse(cls, written: object, /) -> Self:
        """Return the rule that `written` describes: a fault's text, or a mapping with `fault` and the rule's words.

        A Rule is returned as it is. The words are the fields' names, `for_` being written `for`. Raises RuleError and
        FaultError.
        """
        if isinstance(written, cls):
            return written
        if isinstance(written, str):
            return cls(as_fault(written))
        if not isinstance(written, Mapping):
            raise RuleError(f"expected a fault's name, or a mapping with `fault`, got {written!r}")
        words = {str(key): value for key, value in written.items()}
        known = ("fault", "rate", "times", "after", "for", "where", "seed")
        for word in words:
            if word not in known:
                raise RuleError(f"{word}: unknown word; expected one of {', '.join(known)}")
        if "fault" not in words:
            raise RuleError(f"fault: expected the name of a fault, got none in {dict(words)!r}")
        if "for" in words:
            words["for_"] = words.pop("for")
        return cls(**words)

    def written(self) -> dict[str, Any]:
        """Return the rule as `parse` takes it, without what is as by default."""
        given: dict[str, Any] = {"fault": self.fault.written()}
        for each in dataclasses.fields(self)[1:]:
            value = getattr(self, each.name)
            if each.name == "where":
                value = self.where.written()
            if value not in (each.default, {}):
                given[each.name.rstrip("_")] = value
        return given


def as_fault(value: object, parameters: Mapping[str, object] | None = None) -> Fault:
    """Return `value`, a Fault or its text, as a fault, with `parameters` in place of its own. Raises FaultError."""
    if isinstance(value, str):
        value = parse_fault(value)
    if not isinstance(value, Fault):
        raise FaultError(f"fault: expected a Fault or the name of one, got {value!r}")
    if not parameters:
        return value
    return dataclasses.replace(value, **{_parameter(value, name): each for name, each in parameters.items()})


def _parameter(fault: Fault, name: str) -> str:
    """Return the parameter that `name` means. `after_bytes` means `after` where that is in bytes: a rule's words
    (`after`, `times`) may be a parameter's name too."""
    fields = dataclasses.fields(fault)
    for each in fields:
        if name in (each.name, f"{each.name}_{each.metadata['unit']}"):
            return each.name
    expected = f"expected {', '.join(each.name for each in fields)}" if fields else "it takes none"
    raise FaultError(f"fault {fault.name!r} has no parameter {name!r}; {expected}")


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise RuleError(f"for: {error}") from error


class ArmedRule:
    """A rule at work on the servers it was armed for, and its account.

    `armed` counts the occasions it was meant for while it was not over, `fired` those it struck. A context manager:
    leaving it removes the rule, which `remove` does too. Only the fleet's loop lets it decide; all else may be asked
    from any thread. A fault that holds for a server as a whole, such as `refuse`, counts servers; in the fleet's own
    loop `async with` waits until it holds, and on leaving until it holds no more.
    """

    def __init__(
        self,
        rule: Rule,
        number: int,
        seed: int,
        leave: Callable[[ArmedRule], None],
        settle: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.rule, self.number = rule, number
        self.armed = self.fired = 0
        self._seed = f"{seed}/{number}" if rule.seed is None else str(rule.seed)
        self._dice: dict[int, random.Random] = {}
        self._leave, self._settle = leave, settle
        self._due: float | None = None
        self._connections = 0
        self._chosen_connection: int | None = None

    def __repr__(self) -> str:
        return f"<ArmedRule {self.number} {self.rule.fault.written()}: armed={self.armed}, fired={self.fired}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    async def __aenter__(self) -> Self:
        await self.settled()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()
        await self.settled()

    async def settled(self) -> None:
        """Return when what was asked of it has been done: at once, but for faults that hold for a server as a whole.

        Cancelling it changes nothing. Any number may wait.
        """
        if self._settle is not None:
            await self._settle()

    def remove(self) -> None:
        """Take the rule off its servers; what it has struck already goes on. Removing twice is removing once."""
        self._leave(self)

    def begin(self, now: float) -> None:
        """The fleet runs from `now` on: `for_` begins to count. Beginning twice is beginning once."""
        if self._due is None:
            self._due = math.inf if self.rule.for_ is None else now + self.rule.for_

    @property
    def due(self) -> float:
        """When it heals itself, in seconds of the fleet's loop; infinite for never, or while no fleet runs."""
        return math.inf if self._due is None else self._due

    def stands(self) -> None:
        """It holds for one more server."""
        self.armed += 1
        self.fired += 1

    def is_over(self, now: float) -> bool:
        """Whether it will never strike again: all its times are used up, or its time is over."""
        return self.fired == self.rule.times or now >= self.due

    def count_connection(self, line: ConnectionLine) -> None:
        """A connection was accepted. To be told of each, before the rule decides about it or its requests."""
        self._connections += 1
        if self._connections == self.rule.where.connection:
            self._chosen_connection = line.connection

    def strikes_connection(self, server: int, line: ConnectionLine, now: float) -> bool:
        """Decide about a connection just accepted by `server`."""
        return self.rule.is_for_connections and self._is_meant(line.connection) and self._strikes(server, now)

    def strikes_request(self, server: int, line: RequestLine, headers: Mapping[str, str], now: float) -> bool:
        """Decide about a request to `server` whose head has just arrived."""
        if self.rule.is_for_connections or not self._is_meant(line.connection):
            return False
        if self.rule.is_for_websockets and not line.websocket:
            return False
        return self.rule.where.is_for_request(line, headers) and self._strikes(server, now)

    def _is_meant(self, connection: int) -> bool:
        return self.rule.where.connection is None or connection == self._chosen_connection

    def _strikes(self, server: int, now: float) -> bool:
        if self.is_over(now):
            return False
        self.armed += 1
        if self.armed <= self.rule.after or not self._die_says_so(server):
            return False
        self.fired += 1
        return True

    def _die_says_so(self, server: int) -> bool:
        if self.rule.rate >= 1:
            return True
        die = self._dice.get(server)
        if die is None:
            die = self._dice[server] = random.Random(f"{self._seed}/{server}")
        return die.random() < self.rule.rate
