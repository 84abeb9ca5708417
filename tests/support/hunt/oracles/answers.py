"""What callers are told: one result for each prompt, its own, in time, and no failure without a reason."""

from __future__ import annotations

import asyncio
from typing import Any

from hunt.oracles.oracle import Oracle
from hunt.steps import Moment
from hunt.world import Call, Prompt, World
from swarmpool import (
    AcquireTimeout,
    AgentUnavailable,
    ConnectFailed,
    FailureKind,
    MisuseError,
    PoolClosed,
    QueueTimeout,
    TooManyWaiting,
)

__all__ = ["AnswersAreTheirOwn", "CallersAreServedInOrder", "NothingIsDoneTwice"]

_CLOSE = 1e-6  # seconds
_BEFORE_AN_ANSWER = (FailureKind.DISCONNECTED, FailureKind.RESET)
_BEHIND = 0.2  # seconds within which a second response is there


class AnswersAreTheirOwn(Oracle):
    """Each prompt has one result: the words its server says to it, or a failure with a reason in the plan. Whoever was
    cancelled ends cancelled, and nobody else does."""

    def happens(self, moment: Moment, call: Call) -> None:
        if moment != "ended":
            return
        if call.raised is not None:
            self._judge_error(call, call.raised)
        elif call.sort == "websockets":
            for said, heard in call.results:
                self.must(said == heard, f"{call} said {said!r} and heard {heard!r}")
        elif call.sort == "prewarm":
            self._judge_warmth(call, call.results[0])
        elif call.sort == "wait_ready":
            self._judge_readiness(call, call.results[0])
        elif call.results or not call.left:
            self._judge_results(call)

    def at_rest(self) -> None:
        for call in self.world.calls.values():
            task = call.task
            if task is None or not task.done():
                continue
            self.must(task.cancelled() or not call.was_cancelled, f"{call} was cancelled and ended otherwise")
            if not task.cancelled() and task.exception() is not None:
                self.must(False, f"{call} raised {task.exception()!r}")

    def _judge_warmth(self, call: Call, warm: int) -> None:
        disturbed = bool(call.agents & self.world.disturbed) or bool(self.world.closings)
        self.must(0 <= warm <= self.world.setup.limit, f"{call} has {warm} connections open")
        self.must(warm > 0 or disturbed or self.world.setup.timeout < _BEHIND, f"{call} has opened no connection")

    def _judge_readiness(self, call: Call, found: Any) -> None:
        agents = len(found.ready) + len(found.missing)
        self.must(agents >= len(call.agents), f"{call} tells of {agents} of {len(call.agents)} agents")

    def _judge_results(self, call: Call) -> None:
        if len(call.results) != len(call.prompts) and not (call.left and call.sort == "send_all"):
            self.must(False, f"{call} has {len(call.prompts)} prompts and {len(call.results)} results")
            return
        places = [_place(result, place) for place, result in enumerate(call.results)]
        self.must(len(set(places)) == len(places), f"{call} has two results for one prompt: {places}")
        for place, result in zip(places, call.results, strict=True):
            self._judge_result(call, call.prompts[place], result)

    def _judge_result(self, call: Call, prompt: Prompt, result: Any) -> None:
        self.must(result is not None, f"{call} has no result for {prompt.nonce}")
        if result is None:
            return
        asked = call.is_anybodys or result.tree_index == prompt.agent
        self.must(asked, f"{call}: agent {prompt.agent} was asked, and told of is {result!r}")
        if _may_be_anothers(self.world, result):
            return
        if result.success:
            self.must(
                result.text == prompt.expected and result.kind is None,
                f"{call} was told {result.text!r} for {prompt.nonce}, not {prompt.expected!r}",
            )
            return
        self.must(
            prompt.expected.startswith(result.text),
            f"{call} failed with {result.text!r} for {prompt.nonce}, which begins not {prompt.expected!r}",
        )
        self.must(self._is_excused(call, prompt, result), f"{call} failed without a reason: {result!r}")

    def _is_excused(self, call: Call, prompt: Prompt, result: Any) -> bool:
        world = self.world
        excuses = {
            FailureKind.CLOSED: bool(world.closings),
            FailureKind.QUEUE_TIMEOUT: world.setup.queue_timeout is not None,
            FailureKind.TOO_MANY_WAITING: world.setup.max_waiting is not None,
            FailureKind.ABANDONED: call.left,
            FailureKind.TIMEOUT: result.wire_seconds >= (call.limit or world.setup.timeout) - _CLOSE
            or result.tree_index in world.disturbed,
            FailureKind.IDLE_TIMEOUT: call.watches_gaps,
            FailureKind.UNAVAILABLE: world.setup.failures is not None,
        }
        return excuses.get(result.kind, result.kind is not None and result.tree_index in world.disturbed)

    def _judge_error(self, call: Call, error: BaseException) -> None:
        self.must(self._may_raise(call, error), f"{call} raised without a reason: {error!r}")

    def _may_raise(self, call: Call, error: BaseException) -> bool:
        world, setup = self.world, self.world.setup
        if isinstance(error, asyncio.CancelledError):
            return call.was_cancelled
        if isinstance(error, PoolClosed):
            return bool(world.closings)
        if isinstance(error, MisuseError):
            return False
        if isinstance(error, AgentUnavailable):
            return setup.failures is not None
        if isinstance(error, QueueTimeout):
            return setup.queue_timeout is not None
        if isinstance(error, TooManyWaiting):
            return setup.max_waiting is not None or (call.sort == "websockets" and setup.connector_limit == 1)
        if call.sort != "websockets":
            return False
        if isinstance(error, AcquireTimeout | ConnectFailed) and setup.connector_limit == 1:
            return True
        return isinstance(error, AcquireTimeout) or bool(call.agents & world.disturbed) or bool(world.closings)


def _may_be_anothers(world: World, result: Any) -> bool:
    """A response that nobody asked for, and that comes when the next request is under way already, is taken for its
    answer: HTTP/1.1 has no way to tell. So may be each that follows on that connection, as long as the next request is
    always there before the answer that is left over. The server may end it with a request unread."""
    if result.tree_index not in world.disturbed:
        return False
    records = world.fleet[result.tree_index].ledger.request_records()
    return any("second_response" in record.faults for record in records)


def _place(result: Any, place: int) -> int:
    """Which prompt of its call it is for: of results that came as they were there, they say."""
    told: int | None = getattr(result, "prompt_index", None)
    return place if told is None else told


class CallersAreServedInOrder(Oracle):
    """Of two callers in one line the first is given his slot first. A line is the whole pool's, or an agent's where
    agents have limits of their own."""

    def __init__(self, world: Any) -> None:
        super().__init__(world)
        self._line: list[Call] = []

    def happens(self, moment: Moment, call: Call) -> None:
        in_line = call.sort in ("post", "stream") and not self.world.kind.asks_first and not self.world.setup.cares
        if moment == "called" and in_line:
            self._line.append(call)

    def at_rest(self) -> None:
        latest: dict[int, tuple[float, Call]] = {}
        for call in self._line:
            if not call.results or call.results[0] is None or not call.results[0].attempts:
                continue
            line = -1 if self.world.setup.per_agent is None else call.prompts[0].agent
            served = call.began + call.results[0].queue_seconds
            before = latest.get(line)
            if before is not None:
                self.must(served >= before[0] - _CLOSE, f"{call} was served before {before[1]}, who had come first")
            latest[line] = max(before or (served, call), (served, call), key=lambda each: each[0])


class NothingIsDoneTwice(Oracle):
    """No server has a prompt more often than its result says it was sent, and that is not more often than the pool was
    told to try; what was never sent, never. A success was sent. No server works on what one has begun already, unless
    the pool was told that it may."""

    def at_rest(self) -> None:
        for call in self.world.calls.values():
            told = {_place(result, place): result for place, result in enumerate(call.results)}
            for place, prompt in enumerate(call.prompts):
                self._see(call, prompt, told.get(place))

    def _see(self, call: Call, prompt: Prompt, result: Any) -> None:
        setup = self.world.setup
        allowed = setup.tries * (1 + (setup.hedge_after is not None))
        most = allowed if result is None else result.attempts
        if call.sort == "embed":
            most += prompt.refused  # what is not taken is sent again, each text by itself
        else:
            self.must(most <= allowed, f"{call}: {prompt.nonce} was sent {most} times, and {allowed} are allowed")
        self.must(prompt.arrived <= most, f"{call}: {prompt.nonce} arrived {prompt.arrived} times of {most}")
        begun = prompt.arrived - prompt.refused
        excused = self._may_repeat(result) or begun <= 1 + self._stale(result)
        self.must(excused, f"{call}: servers have begun {begun} times with {prompt.nonce}: {result!r}")
        if result is not None and result.success and not _may_be_anothers(self.world, result):
            self.must(prompt.arrived > 0, f"{call}: {prompt.nonce} was answered and never arrived")

    def _may_repeat(self, result: Any) -> bool:
        """Of a call that was cancelled nobody tells the tries."""
        setup = self.world.setup
        return setup.unsafe or setup.hedge_after is not None or (result is None and bool(self.world.disturbed))

    def _stale(self, result: Any) -> int:
        """Tries whose connection had served before and ended before an answer: the server is taken to have closed it as
        idle, which it need not have."""
        earlier = getattr(result, "earlier", ())
        return sum(each.connection == "reused" and each.kind in _BEFORE_AN_ANSWER for each in earlier)
