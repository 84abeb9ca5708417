from __future__ import annotations

import asyncio
import random
import statistics
from itertools import pairwise

import pytest
from virtual_clock import Clock, on_clock

from fleetsim.engine import AbortedError, EngineDeadError, Generation, Job, LatencyEngine
from fleetsim.profile import Profile


async def instants(generation: Generation, clock: Clock) -> list[tuple[float, list[int]]]:
    start = clock.time()
    return [(round(clock.time() - start, 6), list(batch)) async for batch in generation]


def run(engine: LatencyEngine, *jobs: Job) -> list[tuple[float, list[int]]]:
    async def scenario(clock: Clock) -> list[tuple[float, list[int]]]:
        return await instants(engine.generate(jobs), clock)

    return on_clock(scenario)


def test_tokens_come_after_the_first_token_time_and_then_every_inter_token_latency() -> None:
    engine = LatencyEngine(Profile(ttft=0.5, itl=0.1, prefill_per_token=0.01))
    seen = run(engine, Job(10, 3))
    assert seen == [(0.6, [0]), (0.7, [0]), (0.8, [0])]


def test_sequences_of_one_request_share_its_instants() -> None:
    engine = LatencyEngine(Profile(ttft=1, itl=1))
    seen = run(engine, Job(1, 2), Job(1, 3))
    assert seen == [(1, [0, 1]), (2, [0, 1]), (3, [1])]


def test_a_longer_prompt_starts_later() -> None:
    engine = LatencyEngine(Profile(prefill_per_token=1, itl=2))
    seen = run(engine, Job(2, 2), Job(1, 1))
    assert seen == [(1, [1]), (2, [0]), (4, [0])]


def test_finish_waits_as_long_as_the_slowest_sequence_on_one_timer() -> None:
    async def scenario(clock: Clock) -> tuple[float, int]:
        start = clock.time()
        await LatencyEngine(Profile(ttft=1, itl=0.5)).generate([Job(1, 5), Job(1, 9)]).finish()
        return clock.time() - start, clock.timers

    assert on_clock(scenario) == (5.0, 1)


def test_finish_after_some_tokens_waits_for_the_rest() -> None:
    async def scenario(clock: Clock) -> float:
        start = clock.time()
        generation = LatencyEngine(Profile(ttft=1, itl=1)).generate([Job(1, 4)])
        await anext(generation)
        await generation.finish()
        await generation.finish()
        return clock.time() - start

    assert on_clock(scenario) == 4.0


def test_a_stalled_loop_delays_tokens_and_does_not_stretch_the_answer() -> None:
    async def scenario(clock: Clock) -> list[tuple[float, list[int]]]:
        generation = LatencyEngine(Profile(ttft=1, itl=1)).generate([Job(1, 6)])
        clock.stall(3.5)
        return await instants(generation, clock)

    assert on_clock(scenario) == [(0, [0, 0, 0]), (0.5, [0]), (1.5, [0]), (2.5, [0])]


async def _without_latency(clock: Clock) -> tuple[list[list[int]], int]:
    generation = LatencyEngine(Profile()).generate([Job(9, 2), Job(9, 3)])
    batches = [list(batch) async for batch in generation]
    await LatencyEngine(Profile()).generate([Job(9, 64)]).finish()
    return batches, clock.timers


def test_without_latency_there_is_no_timer() -> None:
    batches, timers = on_clock(_without_latency)
    assert batches == [[0, 1, 0, 1, 1]]
    assert timers == 0


async def test_without_latency_a_short_answer_never_gives_up_the_loop() -> None:
    turns: list[str] = []
    asyncio.get_running_loop().call_soon(turns.append, "somebody else")
    async for _ in LatencyEngine(Profile()).generate([Job(1, 100)]):
        pass
    await LatencyEngine(Profile()).generate([Job(1, 10_000)]).finish()
    assert turns == []


async def test_without_latency_a_long_stream_lets_the_others_have_their_turn() -> None:
    turns: list[int] = []
    tokens = 0
    asyncio.get_running_loop().call_soon(lambda: turns.append(tokens))
    async for batch in LatencyEngine(Profile()).generate([Job(1, 1_000)]):
        tokens += len(batch)
    assert tokens == 1_000
    assert turns == [128]


@pytest.mark.parametrize("whole", [True, False], ids=["unary", "stream"])
def test_cancelling_leaves_no_timer_behind(whole: bool) -> None:
    async def scenario(clock: Clock) -> bool:
        generation = LatencyEngine(Profile(ttft=1_000)).generate([Job(1, 1)])
        task = asyncio.ensure_future(generation.finish() if whole else instants(generation, clock))
        await asyncio.sleep(0)
        assert clock.timers == 1
        before = clock.time()
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled() and clock.time() == before

    assert on_clock(scenario)


@pytest.mark.parametrize("jitter", ["normal", "lognormal"])
def test_jitter_has_the_mean_and_the_spread_it_was_given(jitter: str) -> None:
    profile = Profile.parse({"itl": "10ms", "jitter": jitter, "spread": 0.3})
    engine = LatencyEngine(profile, chance=random.Random(1))
    times = [when for when, _ in run(engine, Job(1, 5_000))]
    gaps = [after - before for before, after in pairwise(times)]
    assert statistics.fmean(gaps) == pytest.approx(0.01, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(0.003, rel=0.05)
    assert min(gaps) >= 0


def test_the_same_seed_gives_the_same_instants() -> None:
    def seen(seed: int) -> list[tuple[float, list[int]]]:
        engine = LatencyEngine(Profile(ttft=0.1, itl=0.1, jitter="normal"), chance=random.Random(seed))
        return run(engine, Job(5, 20), Job(7, 20))

    assert seen(4711) == seen(4711) != seen(4712)


def test_jitter_without_chance_is_refused() -> None:
    with pytest.raises(ValueError, match=r"chance: expected a random\.Random for jitter 'normal', got None"):
        LatencyEngine(Profile(itl=1, jitter="normal"))


def test_a_slowed_engine_takes_so_many_times_as_long_and_its_own_time_again_afterwards() -> None:
    engine = LatencyEngine(Profile(ttft=0.5, itl=0.1, prefill_per_token=0.01))
    engine.slow_down(3)
    assert run(engine, Job(10, 3)) == [(1.8, [0]), (2.1, [0]), (2.4, [0])]
    engine.slow_down(1)
    assert run(engine, Job(10, 3)) == [(0.6, [0]), (0.7, [0]), (0.8, [0])]


def test_a_stream_under_way_slows_down_from_the_gap_behind_its_next_token_on() -> None:
    engine = LatencyEngine(Profile(ttft=1, itl=1))

    async def scenario(clock: Clock) -> list[float]:
        start, times = clock.time(), []
        async for _ in engine.generate([Job(1, 5)]):
            times.append(clock.time() - start)
            if len(times) == 2:
                engine.slow_down(10)
        return times

    assert on_clock(scenario) == [1, 2, 3, 13, 23]


def test_jitter_is_slowed_too_and_draws_as_before() -> None:
    profile = Profile(itl=1, jitter="normal")
    usual = run(LatencyEngine(profile, chance=random.Random(1)), Job(1, 4))
    engine = LatencyEngine(profile, chance=random.Random(1))
    engine.slow_down(2)
    slowed = run(engine, Job(1, 4))
    assert [time for time, _ in slowed] == pytest.approx([2 * time for time, _ in usual], abs=1e-5)


def test_a_stopped_engine_wakes_what_waits_with_the_reason_and_goes_on_with_what_comes() -> None:
    engine = LatencyEngine(Profile(ttft=100))

    async def scenario(clock: Clock) -> tuple[list[type[BaseException]], float, int]:
        start = clock.time()
        generations = [engine.generate([Job(1, 1)]) for _ in range(2)]
        waiting = [asyncio.ensure_future(generations[0].finish()), asyncio.ensure_future(collect(generations[1]))]
        await asyncio.sleep(0)
        engine.stop(EngineDeadError)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        stopped_at = clock.time() - start
        await engine.generate([Job(1, 1)]).finish()
        return [type(each) for each in results if isinstance(each, BaseException)], stopped_at, clock.timers

    assert on_clock(scenario) == ([EngineDeadError, EngineDeadError], 0, 3)


async def collect(generation: Generation) -> None:
    async for _ in generation:
        pass


def test_what_does_not_wait_as_the_engine_stops_learns_of_it_at_its_next_token() -> None:
    async def scenario(clock: Clock) -> None:
        for profile, tokens in ((Profile(ttft=1, itl=1), 2), (Profile(), 1_000)):
            engine = LatencyEngine(profile)
            generation = engine.generate([Job(1, tokens)])
            await anext(generation)
            engine.stop(EngineDeadError)
            with pytest.raises(EngineDeadError):
                await anext(generation)

    on_clock(scenario)


@pytest.mark.parametrize(("after", "said"), [(0.5, {0: 0, 1: 0}), (1.0, {0: 1, 1: 1}), (3.5, {0: 3, 1: 2})])
def test_an_aborted_answer_knows_how_many_tokens_had_appeared(after: float, said: dict[int, int]) -> None:
    engine = LatencyEngine(Profile(ttft=1, itl=1))

    async def scenario(clock: Clock) -> dict[int, int]:
        clock.call_later(after, engine.stop, AbortedError)
        with pytest.raises(AbortedError) as caught:
            await engine.generate([Job(1, 9), Job(1, 2)]).finish()
        return caught.value.said

    assert on_clock(scenario) == said
