"""The tries of one stream: until its first text it may begin again, on another agent where the pool chose it.

Once text has been handed out nothing is sent again: it could not be taken back. The rules are those of `delivery.py`;
this is apart because a stream's try does not end before its reader does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from swarmpool.delivery import attempt_of, note, told
from swarmpool.events import PoolEventKind
from swarmpool.responses import Attempt, Response
from swarmpool.results import REFUSALS
from swarmpool.retry import Budget
from swarmpool.route import Guard, Route

if TYPE_CHECKING:
    from swarmpool.exchange import Exchange
    from swarmpool.observing import ObservedCall
    from swarmpool.tree import Tree

__all__ = ["Begun", "StreamTries"]

Begun = tuple["Exchange", tuple[str, bytes]]
"""An exchange that has its slot, and the path and body it is to send."""


class StreamTries:
    """`begin` makes ready a try at a place of the view, or has a failed `Response` if that cannot be."""

    def __init__(
        self,
        tree: Tree,
        route: Callable[[], Route],
        begin: Callable[[int], Awaitable[Begun | Response]],
        call: Callable[[], ObservedCall | None],
    ) -> None:
        self._tree = tree
        self._begin_call = call
        self._call: ObservedCall | None = None
        self._make_route = route
        self._begin = begin
        self._route: Route | None = None
        self._budget: Budget | None = None
        self._guard: Guard | None = None
        self._earlier: list[Attempt] = []
        self._failed: Response | None = None
        self._ended: Response | None = None
        self._trying = False
        self.racing = False
        """Whether another stream may answer in its place, so that its result is not counted yet."""
        self.hedged_after: float | None = None
        """The seconds that another stream has taken too long, until the event is told."""
        self.sent = False
        """Whether any try has had a slot."""
        self.place = -1
        """Where the present try goes."""

    async def begin(self) -> Begun | Response:
        """Make the next try ready; a `Response` is the end. Raises what an admission raises if nothing was sent yet."""
        try:
            begun = await self._next()
            while isinstance(begun, Response) and await self.again(begun):
                begun = await self._next()
        except BaseException as error:
            if self._failed is not None and isinstance(error, REFUSALS):
                return self._failed
            if self._call is not None and not self.racing:
                self._call.raised(error)
            raise
        return begun

    async def _next(self) -> Begun | Response:
        care = self._tree.care
        if self._route is None or self._budget is None:
            self._route = self._make_route()
            self._budget = Budget(care.retry, care.random, asyncio.get_running_loop().time())
            self._call = self._begin_call()
        self._budget.tries += 1
        self.place = self._route.choose()
        self._guard = self._route.guard(self.place)
        if self.hedged_after is not None:
            self.note_about(PoolEventKind.HEDGED, self.hedged_after)
            self.hedged_after = None
        try:
            with nullcontext() if self._call is None else self._call.current():
                begun = await self._begin(self.place)
        except BaseException:
            self._guard.lost()
            raise
        self.sent |= not isinstance(begun, Response)
        return begun

    def rival(self, begin: Callable[[int], Awaitable[Begun | Response]]) -> StreamTries | None:
        """The tries of a second stream for the same request, which share its route and budget; None if there is nowhere
        else to go, or it has not begun."""
        route = self._route
        if route is None or not route.moves_on():
            return None
        other = StreamTries(self._tree, lambda: route, begin, self._begin_call)
        other._route, other._budget, other._call = route, self._budget, self._call
        return other

    def wins(self, others: list[Attempt]) -> None:
        """It is the stream, and the others have lost against it: from now on its result is counted."""
        self.racing = False
        self._earlier += others
        if self._ended is not None:
            self._tree.counts.count(self._ended.kind)
            told(self._ended, others).earlier = tuple(self._earlier)
            if self._call is not None:
                self._call.ended(self._ended)

    def nobody_won(self, error: BaseException) -> None:
        """The race has ended with `error` for its reader."""
        if self._call is not None and self._ended is not None:
            self._call.ended(self._ended)
        elif self._call is not None:
            self._call.raised(error)

    def note_about(self, kind: PoolEventKind, seconds: float | None = None) -> None:
        """An event about the agent of the present try."""
        assert self._route is not None
        agent, now = self._route.agent(self.place), asyncio.get_running_loop().time()
        self._tree.care.events.note(kind, agent.tree_index, agent.key, now, seconds=seconds)

    async def again(self, failed: Response) -> bool:
        """Whether there is another try, once it may begin. Cancelling it ends the stream with that failure."""
        assert self._budget is not None
        assert self._route is not None
        assert self._guard is not None
        self._guard.heard(failed)
        self._failed, self._trying = failed, False
        now = asyncio.get_running_loop().time()
        elsewhere = self._budget.allows(failed) and self._route.moves_on()
        pause = self._budget.pause_after(failed, now, elsewhere=elsewhere)
        if pause is None:
            return False
        self._trying = True
        self._earlier.append(attempt_of(failed, pause))
        note(self._tree.care, PoolEventKind.RETRIED, failed, failure=failed.kind, seconds=pause)
        await self._tree.care.pause(pause)
        return True

    def ended(self, response: Response) -> Response:
        """The stream's one result, counted, which tells of all tries."""
        if self._guard is not None:
            self._guard.heard(response)
        if response is self._failed and self._trying:
            self._earlier.pop()  # it was to be tried again, and that try was never sent
        self._ended = told(response, self._earlier)
        if not self.racing:
            self._tree.counts.count(response.kind)
            if self._call is not None:
                self._call.ended(response)
        return response
