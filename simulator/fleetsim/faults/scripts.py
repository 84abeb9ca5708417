"""A script: the faults of the next requests to one server, one step after the other; and how one is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from types import TracebackType
from typing import Any, Self

from fleetsim.errors import RuleError
from fleetsim.faults.catalogue import Fault, Stage
from fleetsim.faults.kinds import Standing
from fleetsim.faults.rules import Rule, as_fault
from fleetsim.faults.where import Where, as_where
from fleetsim.records import RequestLine

__all__ = ["ArmedScript", "Script", "ScriptRule", "Step", "parse_rule", "read_steps", "written_steps"]

Step = str | Fault | None

_WELL = "ok"


def read_steps(steps: Iterable[Step]) -> tuple[Fault | None, ...]:
    """Return one fault for each step, None where all goes well.

    A step is a Fault, its written form, or `ok` (or None) for an answer without fault; text may repeat it, as in
    `3x before_head`. Raises RuleError when there is no step, FaultError for a fault that cannot be.
    """
    read = tuple(fault for step in steps for fault in _read(step))
    if not read:
        raise RuleError("script: expected at least one step, such as 'ok' or '3x before_head', got none")
    for fault in read:
        if isinstance(fault, Standing):
            raise RuleError(
                f"script: expected faults of connections and requests, got {fault.name}, which is a server's"
            )
    return read


def _read(step: Step) -> Sequence[Fault | None]:
    if step is None:
        return (None,)
    if not isinstance(step, str):
        return (as_fault(step),)
    count, cross, rest = step.partition("x ")
    if cross and count.isdecimal():
        return [*_read(rest.strip())] * int(count)
    return (None,) if step == _WELL else (as_fault(step),)


def written_steps(steps: Iterable[Fault | None]) -> list[str]:
    """Return the steps as `read_steps` takes them, equal ones in a row as `3x before_head`."""
    runs = ((text, len(list(run))) for text, run in groupby(map(_written, steps)))
    return [text if length == 1 else f"{length}x {text}" for text, length in runs]


def _written(step: Fault | None) -> str:
    return _WELL if step is None else step.written()


@dataclass(frozen=True, slots=True, repr=False)
class ScriptRule:
    """A script as it is written in a profile or sent to a control port: `{"script": [...], "where": {...}}`.

    - `script`: the steps, as `read_steps` takes them, or one text in which commas part them.
    - `where`: the servers it is for, each of which plays it for itself, and by `route` and `header` the requests.

    Raises RuleError naming the word, the value and what was expected; FaultError for a fault that cannot be.
    """

    script: tuple[Fault | None, ...]
    where: Where = field(default_factory=Where)

    def __post_init__(self) -> None:
        object.__setattr__(self, "script", read_steps(_parted(self.script)))
        object.__setattr__(self, "where", as_where(self.where))
        for name in ("request", "connection"):
            value = getattr(self.where, name)
            if value is not None:
                raise RuleError(
                    f"where: {name}: expected none for a script, which counts requests itself, got {value!r}"
                )

    def __repr__(self) -> str:
        return f"ScriptRule({', '.join(f'{word}={value!r}' for word, value in self.written().items())})"

    @classmethod
    def parse(cls, written: Mapping[str, Any], /) -> Self:
        """Return the script that the mapping describes. Raises RuleError and FaultError."""
        for word in written:
            if word not in ("script", "where"):
                raise RuleError(f"{word}: expected none beside script, got {written[word]!r}")
        return cls(**written)

    def written(self) -> dict[str, Any]:
        """Return it as `parse` takes it, without what is as by default."""
        where = self.where.written()
        return {"script": written_steps(self.script), **({"where": where} if where else {})}


def _parted(script: object) -> Iterable[Step]:
    if isinstance(script, str):
        return [step for part in script.split(",") if (step := part.strip())]
    if not isinstance(script, Sequence):
        raise RuleError(f"script: expected a list of steps, or one text with commas between them, got {script!r}")
    return script


def parse_rule(written: object) -> Rule | ScriptRule:
    """Return the script or the rule that `written` describes, as in a profile. Raises RuleError and FaultError."""
    if isinstance(written, ScriptRule):
        return written
    if isinstance(written, Mapping) and "script" in written:
        return ScriptRule.parse(written)
    return Rule.parse(written)


class Script:
    """The steps still to come on one server. When they are used up, all goes on as without a script.

    Each request that `where` means takes one step; a step of the stage *connect* waits for the next connection, one of
    the stage *websocket* for the next request for a websocket, and requests that come before it go well. A context
    manager: leaving it removes the script, which `remove` does too.
    """

    def __init__(self, steps: Iterable[Step], where: Where, leave: Callable[[Script], None]) -> None:
        self.steps = read_steps(steps)
        self.fired = 0
        self._left = deque(self.steps)
        self._where, self._leave = where, leave

    def __repr__(self) -> str:
        return f"<Script: {len(self.steps) - len(self._left)} of {len(self.steps)} steps taken>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Take the script off its server, consumed or not. Removing twice is removing once."""
        self._leave(self)

    @property
    def remaining(self) -> tuple[Fault | None, ...]:
        """The steps not taken yet; None is one where all goes well."""
        return tuple(self._left)

    @property
    def armed(self) -> int:
        """The steps taken, of which `fired` were faults."""
        return len(self.steps) - len(self._left)

    def assert_consumed(self) -> None:
        """Raise AssertionError, naming the steps not taken, unless all have been."""
        left = ", ".join(map(_written, self.remaining))
        if left:
            raise AssertionError(f"script: {len(self._left)} of {len(self.steps)} steps were not taken: {left}")

    def for_connection(self) -> Fault | None:
        """Return the next step, and take it, where it is one for a connection."""
        return self._take() if self._left and _is_for_connections(self._left[0]) else None

    def for_request(self, line: RequestLine, headers: Mapping[str, str]) -> tuple[Fault, ...] | None:
        """Return the faults of the next step and take it; None where the script has nothing to say."""
        if not self._left or not self._where.is_for_request(line, headers):
            return None
        if _is_for_connections(self._left[0]) or (_is_for_websockets(self._left[0]) and not line.websocket):
            return ()
        step = self._take()
        return () if step is None else (step,)

    def _take(self) -> Fault | None:
        step = self._left.popleft()
        self.fired += step is not None
        return step


class ArmedScript:
    """A script at work on the servers it was armed for, `scripts` being that of each by its index, and its account.

    `armed` counts the steps taken, `fired` those of them that were faults. Leaving it as a context manager is for each
    script alone; `remove` takes them all away.
    """

    def __init__(self, rule: ScriptRule, number: int, leave: Callable[[ArmedScript], None]) -> None:
        self.rule, self.number = rule, number
        self.scripts: dict[int, Script] = {}
        self._leave = leave

    def __repr__(self) -> str:
        return f"<ArmedScript {self.number} on {len(self.scripts)} servers: armed={self.armed}, fired={self.fired}>"

    @property
    def armed(self) -> int:
        return sum(script.armed for script in self.scripts.values())

    @property
    def fired(self) -> int:
        return sum(script.fired for script in self.scripts.values())

    @property
    def left(self) -> dict[int, list[str]]:
        """By server, the steps not taken yet, as they are written."""
        return {index: written_steps(script.remaining) for index, script in self.scripts.items()}

    def is_over(self, now: float) -> bool:  # noqa: ARG002 (a rule's, which may have a duration)
        """Whether every step has been taken."""
        return not any(script.remaining for script in self.scripts.values())

    def remove(self) -> None:
        """Take it off its servers, consumed or not. Removing twice is removing once."""
        self._leave(self)


def _is_for_connections(step: Fault | None) -> bool:
    return step is not None and step.stage is Stage.CONNECT


def _is_for_websockets(step: Fault | None) -> bool:
    return step is not None and step.stage is Stage.WEBSOCKET
