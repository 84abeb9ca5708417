"""What a race of two tries, a pause, or a policy may do to a request at the worst moment; each was a hole once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from played import played

from fleetsim import Fleet
from swarmpool import (
    Adaptive,
    AgentUnavailable,
    BreakerState,
    FailureKind,
    QueueTimeout,
    Response,
    RoundRobin,
    VLLMPool,
    Weighted,
)
from swarmpool.delivery import of_all
from swarmpool.health import Health
from swarmpool.hedging import Hedge
from swarmpool.retry import Retry
from swarmpool.routing import Candidates, Key

Answers = Callable[[int], Awaitable[Response]]

GOOD = Response(True, "good")
BAD = Response(False, "", "status 503: no", kind=FailureKind.STATUS, status=503)


class OnPaper(VLLMPool):
    """Its agents answer as `answers` says."""

    answers: Answers

    async def _send(self, agent: object, agent_index: int, *_: object) -> Response:
        return await self.answers(agent_index)


def on_paper(answers: Answers, hedge: Hedge) -> OnPaper:
    pool = OnPaper([("127.0.0.1", 9), ("127.0.0.1", 10)], "sim", 4, hedge=hedge)
    pool.answers = answers
    return pool


# ------------------------------------------------------------------------------------------------ races


@pytest.mark.parametrize("good", [0, 1])
async def test_a_good_answer_counts_though_the_other_try_fails_in_the_same_turn(good: int) -> None:
    both, begun = asyncio.Event(), 0

    async def answers(place: int) -> Response:
        nonlocal begun
        begun += 1
        if begun == 2:
            both.set()
        await both.wait()
        return Response(True, "good") if place == good else BAD

    async with on_paper(answers, Hedge(after=0.001, share=1.0)) as pool:
        assert (await pool.ask("hi")).text == "good"


async def test_a_bug_in_one_try_is_not_hidden_by_the_answer_of_the_other() -> None:
    broken = asyncio.Event()

    async def answers(place: int) -> Response:
        if place == 1:
            broken.set()
            raise KeyError("a bug of the caller's")
        await broken.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        return Response(True, "good")

    async with on_paper(answers, Hedge(after=0.001, share=1.0)) as pool:
        with pytest.raises(KeyError):
            await pool.ask("hi")


def test_a_failure_is_the_result_though_the_second_try_got_no_slot_after_it() -> None:
    """`QueueTimeout` was raised: what had been sent, and how it failed, was told to nobody."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[1].fault("delay", seconds="60s"), fleet[0].fault("delay", seconds="1s"):
            blocking = asyncio.create_task(pool.post(1, "hi"))
            await fleet.ledger.wait_for(requests=1)
            with fleet[0].fault("server_error"):
                response = await pool.ask("hi")
            blocking.cancel()
            await asyncio.wait([blocking])
        assert (response.status, response.attempts) == (500, 1)
        assert pool.statistics().requests.failed == 1

    played(work, hedge=Hedge(after=0.5, share=1.0), concurrency_per_agent=1, queue_timeout=2.0)


def test_where_neither_try_got_a_slot_the_refusal_is_raised() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("delay", seconds="60s"):
            blocking = [asyncio.create_task(pool.post(place, "hi")) for place in range(2)]
            await fleet.ledger.wait_for(requests=2)
            with pytest.raises(QueueTimeout):
                await pool.ask("hi")
            for task in blocking:
                task.cancel()
            await asyncio.wait(blocking)

    played(work, hedge=Hedge(after=0.5, share=1.0), concurrency_per_agent=1, queue_timeout=2.0)


# ------------------------------------------------------------------------------------------------ pauses


@pytest.mark.parametrize("streamed", [False, True])
def test_nobody_begins_to_pause_when_the_pool_closes_already(streamed: bool) -> None:
    """Only those who paused at the moment of `close` were woken: who failed in the drain slept on, past the end."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async def ask() -> Response:
            return await pool.stream(0, "hi") if streamed else await pool.post(0, "hi")

        with fleet[0].fault("delay", seconds="1s"), fleet[0].fault("unavailable"):
            failing = asyncio.create_task(ask())
            await fleet.ledger.wait_for(requests=1)
            begun = asyncio.get_running_loop().time()
            await pool.close(drain=10.0)
            assert (await failing).status == 503
            assert asyncio.get_running_loop().time() - begun < 2.0

    played(work, retry=Retry(pause=3600.0, longest_pause=3600.0, seconds=None))


# ------------------------------------------------------------------------------------------------ policies


class Only:
    """A policy of one agent."""

    def __init__(self, place: int | None) -> None:
        self._place = place

    def choose(self, candidates: Candidates, key: Key | None) -> int | None:
        """It, while it is fit."""
        return self._place if self._place is not None and candidates.fit(self._place) else None


@pytest.mark.parametrize("policy", [Weighted(), Only(0)], ids=["weight 0", "one agent"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_policy_that_leaves_agents_out_is_asked_for_another_round_after_a_pause(
    policy: Weighted | Only, streamed: bool
) -> None:
    """The agents it never takes were "not tried yet" for ever, so there was no second round, and no retry."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=1):
            response = await (pool.stream(None, "hi") if streamed else pool.ask("hi"))
        assert (response.success, response.tree_index) == (True, 0)
        assert [attempt.pause_seconds for attempt in response.earlier] == [1.0]

    played(work, routing=policy, retry=Retry(pause=1.0, jitter=0.0), weights=[1, 0])


class Astray:
    """A policy that chooses what there is not."""

    def choose(self, candidates: Candidates, key: Key | None) -> int | None:
        """One too far."""
        return len(candidates)


def test_a_policy_that_chooses_no_agent_of_the_view_is_named() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with pytest.raises(ValueError, match=r"^routing: .*Astray.* chose 2, expected the place of a fit agent"):
            await pool.ask("hi")

    played(work, routing=Astray())


def test_an_answer_moves_nobodys_turn() -> None:
    """What a retry would need is found out only when there is one."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        assert [(await pool.ask("hi")).tree_index for _ in range(6)] == [0, 1, 2] * 2

    played(work, 3, routing=RoundRobin(), retry=Retry(), hedge=Hedge(after=60.0))


def test_an_agent_is_not_asked_again_before_its_retry_after() -> None:
    """The last answer's was waited for, not that of the agent whose turn it was."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        begun = asyncio.get_running_loop().time()
        with fleet[0].fault("rate_limited", retry_after="7s", times=1), fleet[1].fault("unavailable", times=1):
            response = await pool.ask("hi")
        assert response.success
        assert response.tree_index == 0
        assert asyncio.get_running_loop().time() - begun >= 7.0

    played(work, retry=Retry(pause=0.01))


# ------------------------------------------------------------------------------------------------ streams


def test_a_streams_failure_is_heard_once_and_of_its_own_agent() -> None:
    """The next try's agent was made slower by it, if that try was given up before it had a slot."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[1].fault("delay", seconds="60s"):
            blocking = [asyncio.create_task(pool.post(1, "hi")) for _ in range(4)]
            await fleet[1].ledger.wait_for(requests=4)
            with fleet[0].fault("unavailable"):
                response = await pool.stream(None, "hi")
            assert response.status == 503
            assert [agent.cap for agent in pool.agent_statistics()] == [2, 4]
            for task in blocking:
                task.cancel()
            await asyncio.wait(blocking)

    played(work, retry=Retry(), adaptive=Adaptive(initial=4, decrease=0.5), queue_timeout=1.0)


def test_a_stream_whose_agent_does_not_tell_its_model_begins_again() -> None:
    """As a request does: nothing has been sent."""

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[0].fault("refuse"):
            response = await pool.stream(None, "hi")
        assert (response.success, response.tree_index) == (True, 1)
        assert [(attempt.tree_index, attempt.kind) for attempt in response.earlier] == [(0, "connect")]

    played(work, retry=Retry(), model=None)


def test_a_probe_of_the_pools_own_is_not_begun_by_an_answer() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=1):
            await pool.post(0, "hi")
        await asyncio.sleep(5.0)
        assert (await pool.post(1, "hi")).success
        assert pool.statistics().care.probing == 0

    played(work, health=Health(failures=1, probe="health"))


# ------------------------------------------------------------------------------------------------ what is told


async def test_a_second_try_that_fails_last_has_won_nothing() -> None:
    second, failed = asyncio.Event(), asyncio.Event()

    async def answers(place: int) -> Response:
        if place == 1:
            second.set()
            await failed.wait()
            for _ in range(10):
                await asyncio.sleep(0)
        else:
            await second.wait()
        failed.set()
        return Response(False, "", "no", kind=FailureKind.STATUS, status=500, tree_index=place)

    async with on_paper(answers, Hedge(after=0.001, share=1.0)) as pool:
        assert (await pool.ask("hi")).tree_index == 1
        care = pool.statistics().care
        assert (care.hedged, care.hedge_won) == (1, 0)


def test_a_request_to_a_named_agent_is_not_hedged() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="10s"):
            response = await pool.post(0, "hi")
        assert (response.tree_index, response.attempts, fleet.ledger.requests) == (0, 1, 1)

    played(work, retry=Retry(), hedge=Hedge(after=0.5, share=1.0))


def test_a_batch_is_good_if_one_of_its_answers_is() -> None:
    assert of_all([BAD, GOOD, BAD]) is GOOD
    assert of_all([BAD, BAD]) is BAD


def test_all_waiting_for_slots_is_told() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[1].fault("delay", seconds="1s"), fleet[0].fault("unavailable", times=1):
            first = asyncio.create_task(pool.post(1, "hi"))
            await fleet.ledger.wait_for(requests=1)
            response = await pool.post(0, "hi")
            await first
        assert response.success
        assert [attempt.queue_seconds > 0.9 for attempt in response.earlier] == [True]
        assert response.queue_seconds >= response.earlier[0].queue_seconds

    played(work, concurrency=1, retry=Retry(pause=0.1))


def test_a_streams_failure_lowers_the_cap_once_though_no_other_try_may_be() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"):
            assert (await pool.stream(0, "hi")).attempts == 1
        assert pool.agent_statistics()[0].cap == 4

    adaptive = Adaptive(initial=8, decrease=0.5)
    played(work, retry=Retry(pause=1.0, jitter=0.0), health=Health(failures=1), adaptive=adaptive)


def test_a_probe_of_the_pools_own_that_gets_no_slot_leaves_the_next_to_probe() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=1):
            await pool.post(0, "hi")
        await asyncio.sleep(5.0)
        with fleet[1].fault("delay", seconds="10s", times=1):
            blocking = asyncio.create_task(pool.post(1, "hi"))
            await fleet.ledger.wait_for(requests=2)
            with pytest.raises(AgentUnavailable, match="a probe is under way"):
                await pool.post(0, "hi")
            await asyncio.sleep(2.0)
            assert pool.agent_statistics()[0].breaker is BreakerState.OPEN
            assert (await blocking).success
        with pytest.raises(AgentUnavailable, match="a probe is under way"):
            await pool.post(0, "hi")
        await asyncio.sleep(1.0)
        assert (await pool.post(0, "hi")).success

    played(work, concurrency=1, queue_timeout=1.0, health=Health(failures=1, probe="health"))
