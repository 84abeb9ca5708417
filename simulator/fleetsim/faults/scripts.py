"""A script: the faults of the next requests to one server, one step after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from fleetsim.errors import RuleError
from fleetsim.faults.catalogue import Fault, Stage
from fleetsim.faults.kinds import Standing
from fleetsim.faults.rules import as_fault
from fleetsim.faults.where import Where
from fleetsim.records import RequestLine

__all__ = ["Script", "Step", "read_steps"]

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


class Script:
    """The steps still to come on one server. When they are used up, all goes on as without a script.

    Each request that `where` means takes one step; a step of the stage *connect* waits for the next connection, and
    requests that come before it go well. A context manager: leaving it removes the script, which `remove` does too.
    """

    def __init__(self, steps: Iterable[Step], where: Where, leave: Callable[[Script], None]) -> None:
        self.steps = read_steps(steps)
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

    def assert_consumed(self) -> None:
        """Raise AssertionError, naming the steps not taken, unless all have been."""
        left = ", ".join(_WELL if each is None else each.written() for each in self.remaining)
        if left:
            raise AssertionError(f"script: {len(self._left)} of {len(self.steps)} steps were not taken: {left}")

    def for_connection(self) -> Fault | None:
        """Return the next step, and take it, where it is one for a connection."""
        if self._left and _is_for_connections(self._left[0]):
            return self._left.popleft()
        return None

    def for_request(self, line: RequestLine, headers: Mapping[str, str]) -> tuple[Fault, ...] | None:
        """Return the faults of the next step and take it; None where the script has nothing to say."""
        if not self._left or not self._where.is_for_request(line, headers):
            return None
        if _is_for_connections(self._left[0]):
            return ()
        step = self._left.popleft()
        return () if step is None else (step,)


def _is_for_connections(step: Fault | None) -> bool:
    return step is not None and step.stage is Stage.CONNECT
