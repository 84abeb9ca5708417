"""Those who wait for their first step, or for their next after they were preempted: by arrival, or by priority."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Literal, Protocol

from fleetsim.engine.request import Request

__all__ = ["WaitingLine", "waiting_line"]


class WaitingLine(Protocol):
    """A line whose `first` is to be admitted next."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Request]: ...
    def first(self) -> Request:
        """The request whose turn it is. Raises IndexError when nobody waits."""

    def leave(self) -> None:
        """Remove the first."""

    def join(self, request: Request) -> None:
        """Let one that has just arrived wait."""

    def rejoin(self, request: Request) -> None:
        """Let one that was preempted wait."""

    def drop(self, gone: set[Request]) -> None:
        """Remove those of `gone` that wait here."""


def waiting_line(policy: Literal["fcfs", "priority"]) -> WaitingLine:
    """Return an empty line of that policy."""
    return _ByArrival() if policy == "fcfs" else _ByPriority()


class _ByArrival:
    __slots__ = ("_line",)

    def __init__(self) -> None:
        self._line: deque[Request] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._line)

    def first(self) -> Request:
        return self._line[0]

    def leave(self) -> None:
        self._line.popleft()

    def join(self, request: Request) -> None:
        self._line.append(request)

    def rejoin(self, request: Request) -> None:
        """At the head: it ran, so it came before all that wait (vLLM: prepend_request)."""
        self._line.appendleft(request)

    def drop(self, gone: set[Request]) -> None:
        self._line = deque(each for each in self._line if each not in gone)


class _ByPriority:
    """A heap of (priority, order of arrival, request)."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Request]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Request]:
        return (request for _, _, request in sorted(self._heap))

    def first(self) -> Request:
        return self._heap[0][2]

    def leave(self) -> None:
        heapq.heappop(self._heap)

    def join(self, request: Request) -> None:
        heapq.heappush(self._heap, (request.priority, request.order, request))

    rejoin = join

    def drop(self, gone: set[Request]) -> None:
        self._heap = [each for each in self._heap if each[2] not in gone]
        heapq.heapify(self._heap)
