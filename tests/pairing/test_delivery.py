"""Retries, breakers, routing and hedges on a fleet that fails, in a simulated world: minutes take a moment."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from played import kinds, played

from fleetsim import Fleet
from swarmpool import Adaptive, AgentUnavailable, FailureKind, PoolClosed, QueueTimeout, VLLMPool
from swarmpool.events import PoolEvent
from swarmpool.health import Health
from swarmpool.hedging import Hedge
from swarmpool.retry import Retry
from swarmpool.routing import LeastInFlight, Sticky

# ------------------------------------------------------------------------------------------------ retries


def test_off_means_one_try() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        fleet[0].script("unavailable", "ok")
        response = await pool.post(0, "hi")
        assert (response.kind, response.status, response.attempts, response.earlier) == ("status", 503, 1, ())
        assert fleet.ledger.requests == 1

    played(work)


def test_a_named_agent_is_tried_again_and_the_response_tells_of_it() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        script = fleet[0].script("2x unavailable", "ok")
        response = await pool.post(0, "hi")
        script.assert_consumed()
        assert response.success
        assert response.attempts == 3
        assert [(attempt.kind, attempt.status, attempt.tree_index) for attempt in response.earlier] == [
            ("status", 503, 0)
        ] * 2
        assert all(0.05 <= attempt.pause_seconds <= 0.2 for attempt in response.earlier)
        assert response.wire_seconds > sum(attempt.wire_seconds for attempt in response.earlier)
        now = pool.statistics().requests
        assert (now.succeeded, now.failed) == (1, 0)
        assert fleet.ledger.requests == 3

    played(work, retry=Retry(pause=0.1))


def test_where_the_pool_chose_the_next_try_goes_elsewhere_without_a_pause() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"):
            response = await pool.ask("hi")
        assert response.success
        assert response.tree_index == 1
        assert [(attempt.tree_index, attempt.pause_seconds) for attempt in response.earlier] == [(0, 0.0)]

    played(work, retry=Retry(pause=60.0))


def test_many_prompts_pass_by_a_dead_agent() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[1].fault("refuse"):
            responses = await pool.send_all([f"prompt {number}" for number in range(30)])
        assert all(response.success for response in responses)
        assert [response.prompt_index for response in responses] == list(range(30))
        assert Counter(response.tree_index for response in responses)[1] == 0
        assert pool.statistics().requests.succeeded == 30

    played(work, 3, retry=Retry())


def test_a_batch_is_tried_again_as_a_whole_and_each_prompt_keeps_its_answer() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"):
            responses = await pool.send_all_batched([f"prompt {number}" for number in range(10)])
        assert all(response.success for response in responses)
        assert [response.prompt_index for response in responses] == list(range(10))
        assert {response.attempts for response in responses} == {1, 2}

    played(work, retry=Retry())


@pytest.mark.parametrize("fault", ["before_head", "reset", "truncated", "server_error"])
def test_what_an_agent_may_have_worked_on_is_not_sent_again(fault: str) -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault(fault):
            response = await pool.post(0, "hi")
        assert not response.success
        assert (response.attempts, fleet.ledger.requests) == (1, 1)

    played(work, retry=Retry())


def test_a_reused_connection_that_ends_as_the_request_comes_is_tried_again() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        assert (await pool.post(0, "first")).success
        with fleet[0].fault("stale", times=1):
            assert (await pool.post(0, "second")).success
        response = await pool.post(0, "third")
        assert response.success
        assert [(attempt.kind, attempt.connection) for attempt in response.earlier] == [("disconnected", "reused")]

    played(work, retry=Retry())


def test_retry_after_is_waited_for() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        begun = asyncio.get_running_loop().time()
        with fleet[0].fault("rate_limited", retry_after="7s", times=1):
            response = await pool.post(0, "hi")
        assert response.success
        assert 7.0 <= asyncio.get_running_loop().time() - begun < 8.0
        assert response.earlier[0].status == 429

    played(work, retry=Retry(pause=0.01))


def test_a_retry_after_beyond_the_cap_is_the_result() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("rate_limited", retry_after="31s"):
            response = await pool.post(0, "hi")
        assert (response.status, response.retry_after, response.attempts) == (429, 31.0, 1)

    played(work, retry=Retry(longest_retry_after=30.0))


def test_no_slot_is_held_while_a_request_pauses() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=1):
            pausing = asyncio.create_task(pool.post(0, "hi"))
            await fleet.ledger.wait_for(requests=1)
            await asyncio.sleep(1.0)
            assert pool.statistics().admission.in_flight == 0
            assert (await pool.post(1, "hi")).success
            assert not pausing.done()
            assert (await pausing).success

    played(work, concurrency=1, retry=Retry(pause=60.0, longest_pause=60.0, seconds=None, jitter=0.0))


def test_the_budget_of_time_holds_over_all_tries() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        begun = asyncio.get_running_loop().time()
        with fleet[0].fault("unavailable"):
            response = await pool.post(0, "hi")
        assert response.status == 503
        assert asyncio.get_running_loop().time() - begun <= 10.5
        assert response.attempts == fleet.ledger.requests == 4  # at 0, 1, 3 and 7 seconds; the next were at 15

    played(work, retry=Retry(tries=99, seconds=10.0, pause=1.0, longest_pause=60.0, jitter=0.0))


def test_a_pool_that_closes_wakes_who_pauses_and_the_failure_is_the_result() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"):
            pausing = asyncio.create_task(pool.post(0, "hi"))
            await fleet.ledger.wait_for(requests=1)
            await asyncio.sleep(1.0)
            begun = asyncio.get_running_loop().time()
            await pool.close()
            response = await pausing
        assert asyncio.get_running_loop().time() - begun < 1.0
        assert (response.status, response.attempts) == (503, 1)
        with pytest.raises(PoolClosed):
            await pool.ask("hi")

    played(work, retry=Retry(pause=3600.0, longest_pause=3600.0, seconds=None))


def test_a_caller_cancelled_in_the_pause_counts_once() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"):
            pausing = asyncio.create_task(pool.post(0, "hi"))
            await fleet.ledger.wait_for(requests=1)
            await asyncio.sleep(1.0)
            pausing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pausing
        now = pool.statistics().requests
        assert (now.succeeded, now.failed, now.cancelled) == (0, 0, 1)

    played(work, retry=Retry(pause=60.0, longest_pause=60.0, seconds=None))


def test_no_room_for_the_first_try_raises_and_for_a_later_one_leaves_the_failure() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable"), fleet[1].fault("delay", seconds="600s"):
            failing = asyncio.create_task(pool.post(0, "hi"))
            await fleet.ledger.wait_for(requests=1)
            await asyncio.sleep(1.0)
            blocking = asyncio.create_task(pool.post(1, "hi"))
            await fleet.ledger.wait_for(requests=2)
            with pytest.raises(QueueTimeout):
                await pool.post(0, "hi")
            assert (await failing).status == 503
            blocking.cancel()
            await asyncio.gather(blocking, return_exceptions=True)

    played(work, concurrency=1, queue_timeout=2.0, retry=Retry(pause=2.0, jitter=0.0))


# ------------------------------------------------------------------------------------------------ breakers


def test_an_agent_that_fails_is_left_alone_probed_and_comes_back() -> None:
    seen: list[PoolEvent] = []

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[0].fault("refuse"):
            failed = [await pool.post(0, "hi") for _ in range(3)]
            assert {response.kind for response in failed} == {FailureKind.CONNECT}
            with pytest.raises(AgentUnavailable, match=r"1 of 1 agents .* left alone for 5\.0 s more; last failure: c"):
                await pool.post(0, "hi")
            assert {(await pool.ask("hi")).tree_index for _ in range(4)} == {1}
        await asyncio.sleep(5.0)
        assert (await pool.post(0, "hi")).success
        assert kinds(seen) == ["ejected", "probing", "returned"]

    played(work, health=Health(failures=3), on_event=seen.append)


def test_while_one_probes_the_others_fail_fast() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=1):
            await pool.post(0, "hi")
        await asyncio.sleep(5.0)
        with fleet[0].fault("delay", seconds="1s"):
            probing = asyncio.create_task(pool.post(0, "hi"))
            await asyncio.sleep(0.5)
            with pytest.raises(AgentUnavailable, match="a probe is under way"):
                await pool.post(0, "hi")
            assert (await probing).success
        assert fleet.ledger.requests == 2

    played(work, health=Health(failures=1))


def test_a_probe_that_is_cancelled_leaves_the_next_request_to_probe() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=1):
            await pool.post(0, "hi")
        await asyncio.sleep(5.0)
        with fleet[0].fault("delay", seconds="60s"):
            probing = asyncio.create_task(pool.post(0, "hi"))
            await asyncio.sleep(0.5)
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        assert (await pool.post(0, "hi")).success

    played(work, health=Health(failures=1))


def test_with_all_ejected_callers_fail_at_once_with_the_reasons() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("unavailable"):
            await asyncio.gather(*[pool.post(place, "hi") for place in range(8)])
            begun = asyncio.get_running_loop().time()
            with pytest.raises(AgentUnavailable, match=r"^8 of 8 agents .*status 503.*; and 3 more$"):
                await pool.ask("hi")
            responses = await pool.send_all(["a", "b"])
        assert asyncio.get_running_loop().time() == begun
        assert {response.kind for response in responses} == {FailureKind.UNAVAILABLE}
        assert fleet.ledger.requests == 8

    played(work, 8, health=Health(failures=1))


def test_health_probes_cost_no_prompt() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        async with fleet[0].fault("engine_death", exits="3600s"):
            assert (await pool.post(0, "hi")).status == 500
            await asyncio.sleep(6.0)
            assert [(await pool.ask("hi")).tree_index for _ in range(4)] == [1] * 4
            await asyncio.sleep(20.0)
            assert [(await pool.ask("hi")).tree_index for _ in range(4)] == [1] * 4

    played(work, health=Health(failures=1, probe="health"))


def test_a_breaker_that_asks_health_lets_the_agent_back() -> None:
    seen: list[PoolEvent] = []

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("unavailable", times=1):
            await pool.post(0, "hi")
        await asyncio.sleep(5.0)
        assert (await pool.ask("hi")).tree_index == 1
        await asyncio.sleep(1.0)
        assert {(await pool.ask("hi")).tree_index for _ in range(4)} == {0, 1}
        assert kinds(seen) == ["ejected", "probing", "returned"]

    played(work, health=Health(failures=1, probe="health"), on_event=seen.append)


# ------------------------------------------------------------------------------------------------ routing


def test_ask_takes_the_agents_in_turn() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        assert [(await pool.ask("hi")).tree_index for _ in range(6)] == [0, 1, 2, 0, 1, 2]
        assert [(await pool.post(None, "hi")).agent_index for _ in range(3)] == [0, 1, 2]

    played(work, 3)


def test_sub_pools_ask_their_own_agents() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        view = pool.select([2, 1])
        responses = [await view.ask("hi") for _ in range(4)]
        assert [(response.agent_index, response.tree_index) for response in responses] == [(0, 2), (1, 1)] * 2

    played(work, 3)


def test_the_least_loaded_agent_gets_what_a_slow_one_cannot_take() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> Counter[int]:
        with fleet[0].fault("delay", seconds="60s"):
            responses = await pool.send_all([f"prompt {number}" for number in range(200)])
        return Counter(response.tree_index for response in responses)

    counts = played(work, 2, concurrency=8, routing=LeastInFlight())
    assert counts[0] < 10
    assert counts.total() == 200


def test_a_key_stays_with_its_agent_until_that_is_ejected() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        home = (await pool.ask("hi", key="session")).tree_index
        assert {(await pool.ask("hi", key="session")).tree_index for _ in range(5)} == {home}
        async with fleet[home].fault("refuse"):
            await asyncio.sleep(5)  # its idle connection goes
            away = await pool.ask("hi", key="session")
            assert away.success
            assert away.tree_index != home
            assert (await pool.ask("hi", key="session")).tree_index == away.tree_index
        await asyncio.sleep(6)
        assert (await pool.ask("hi", key="session")).tree_index == home

    played(work, 4, routing=Sticky(), retry=Retry(), health=Health(failures=1))


# ------------------------------------------------------------------------------------------------ hedges


def test_a_slow_agent_is_overtaken_and_leaves_nothing() -> None:
    seen: list[PoolEvent] = []

    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="60s"):
            begun = asyncio.get_running_loop().time()
            response = await pool.ask("hi")
            assert asyncio.get_running_loop().time() - begun < 1.0
        assert response.success
        assert (response.tree_index, response.attempts) == (1, 2)
        [lost] = response.earlier
        assert (lost.tree_index, lost.kind) == (0, None)
        assert kinds(seen) == ["hedged", "hedge_won"]
        now = pool.statistics()
        assert (now.requests.succeeded, now.requests.failed, now.requests.cancelled) == (1, 0, 0)
        assert now.admission.in_flight == 0

    played(work, hedge=Hedge(after=0.5, share=1.0), on_event=seen.append)


def test_a_quick_agent_is_not_hedged() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        responses = await pool.send_all(["hi"] * 20)
        assert {response.attempts for response in responses} == {1}
        assert fleet.ledger.requests == 20

    played(work, hedge=Hedge(after=0.5, share=1.0))


def test_a_named_agent_is_not_hedged() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="5s"):
            response = await pool.post(0, "hi")
        assert (response.tree_index, response.attempts) == (0, 1)

    played(work, hedge=Hedge(after=0.5, share=1.0))


def test_the_first_answer_counts_also_if_it_is_the_first_tries() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="1s"), fleet[1].fault("delay", seconds="60s"):
            response = await pool.ask("hi")
        assert (response.tree_index, response.attempts) == (0, 2)
        assert [(attempt.tree_index, attempt.kind) for attempt in response.earlier] == [(1, None)]

    played(work, hedge=Hedge(after=0.5, share=1.0))


def test_a_second_try_that_fails_does_not_end_the_first() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="1s"), fleet[1].fault("unavailable"):
            response = await pool.ask("hi")
        assert (response.success, response.tree_index) == (True, 0)
        assert [(attempt.tree_index, attempt.status) for attempt in response.earlier] == [(1, 503)]

    played(work, hedge=Hedge(after=0.5, share=1.0))


def test_where_both_fail_there_is_one_failure_that_tells_of_the_other() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[0].fault("delay", seconds="1s"), fleet.fault("server_error"):
            response = await pool.ask("hi")
        assert (response.success, response.status, response.attempts) == (False, 500, 2)
        assert pool.statistics().requests.failed == 1

    played(work, hedge=Hedge(after=0.5, share=1.0))


def test_a_caller_cancelled_in_the_race_leaves_neither_try() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("delay", seconds="60s"):
            racing = asyncio.create_task(pool.ask("hi"))
            await fleet.ledger.wait_for(requests=2)
            racing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await racing
            assert pool.statistics().admission.in_flight == 0
        assert pool.statistics().requests.cancelled == 1

    played(work, hedge=Hedge(after=0.5, share=1.0))


def test_no_hedge_takes_a_slot_that_somebody_waits_for() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet.fault("delay", seconds="2s"):
            responses = await pool.send_all(["hi"] * 8)
        assert {response.attempts for response in responses} == {1}

    played(work, concurrency=2, hedge=Hedge(after=0.5, share=1.0))


def test_the_delay_is_learnt_from_the_answers() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        for _ in range(20):
            assert (await pool.ask("hi")).attempts == 1
        with fleet[0].fault("delay", seconds="60s"):
            begun = asyncio.get_running_loop().time()
            assert (await pool.ask("hi")).attempts == 2
            assert asyncio.get_running_loop().time() - begun < 1.0

    played(work, hedge=Hedge(at_least=20, share=1.0))


def test_each_agent_has_statistics_of_its_own() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        with fleet[2].fault("unavailable", times=1):
            await asyncio.gather(pool.post(2, "hi"), pool.post(0, "hi"))
        first, last = pool.select([0, 2]).agent_statistics()
        assert (first.agent_index, first.tree_index, first.sent, first.load, first.breaker.name) == (
            0,
            0,
            1,
            0,
            "CLOSED",
        )
        assert (last.agent_index, last.tree_index, last.sent, last.load, last.breaker.name) == (1, 2, 1, 0, "OPEN")
        with fleet[1].fault("delay", seconds="1s"):
            asking = asyncio.gather(*[pool.post(1, "hi") for _ in range(3)])
            await asyncio.sleep(0.5)
            assert pool.agent_statistics()[1].load == 3
            await asking
        assert pool.statistics().care.ejected_now == 1

    played(work, 3, health=Health(failures=1), concurrency_per_agent=2)


# ------------------------------------------------------------------------------------------------ adaptive concurrency


def test_an_agent_gets_as_many_as_it_bears() -> None:
    async def work(fleet: Fleet, pool: VLLMPool) -> None:
        await pool.send_all(["hi"] * 400)
        risen = pool.agent_statistics()[0].cap
        assert risen is not None
        assert risen > 4
        with fleet[0].fault("unavailable"):
            await asyncio.gather(*[pool.post(0, "hi") for _ in range(50)])
        fallen = pool.agent_statistics()[0].cap
        assert fallen is not None
        assert fallen < risen / 2
        assert fleet[0].ledger.peak_in_flight <= risen

    played(work, adaptive=Adaptive(initial=4))


def test_adaptive_and_a_fixed_cap_exclude_one_another() -> None:
    with pytest.raises(ValueError, match=r"^adaptive and concurrency_per_agent must not both be given: Adaptive\.max"):
        VLLMPool([], adaptive=Adaptive(), concurrency_per_agent=3)
