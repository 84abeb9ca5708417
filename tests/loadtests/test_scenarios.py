from __future__ import annotations

import asyncio

import pytest

from fleetsim import Fleet
from loadtests.figures import Figures
from loadtests.scenarios import SCENARIOS, as_responses, timed
from loadtests.traffic import Traffic
from swarmpool import Health, Response, VLLMPool

REQUESTS = {"unary": 1, "stream": 1, "batch": 1, "scatter-gather": 3 + 1, "websocket": 1}
RESPONSES = REQUESTS | {"batch": 16}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_each_scenario_sends_what_it_says_and_returns_the_responses(name: str) -> None:
    figures = Figures()
    async with Fleet(3) as fleet, VLLMPool(fleet.endpoints, model="sim") as pool:
        run = SCENARIOS[name](Traffic(0), figures)
        _, responses = await timed(name, run, pool, figures)
        generated = [line for line in fleet.ledger.request_records() if line.path != "/v1/models"]
        assert len(generated) == REQUESTS[name]
    assert len(responses) == RESPONSES[name]
    assert all(response.success for response in responses)
    assert (figures.runs[name], figures.responses, figures.failed) == (1, RESPONSES[name], 0)


async def test_a_stream_records_a_gap_before_each_piece_but_the_first() -> None:
    figures = Figures()
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints, model="sim", max_tokens=6) as pool:
        await timed("stream", SCENARIOS["stream"](Traffic(0), figures), pool, figures)
    assert figures.durations["gap"].count == 5
    assert figures.durations["first_token"].count == 1


async def test_a_scatter_asks_different_sub_pools_and_sums_up_what_it_got() -> None:
    async with Fleet(32) as fleet, VLLMPool(fleet.endpoints, model="sim", max_tokens=4) as pool:
        run = SCENARIOS["scatter-gather"](Traffic(0), Figures())
        first, second = as_responses(await run(pool)), as_responses(await run(pool))
    assert [len(first), len(second)] == [9, 9]
    assert {each.tree_index for each in first} != {each.tree_index for each in second}
    assert first[-1].usage is not None
    assert first[0].usage is not None
    assert first[-1].usage.completion_tokens == 2 * first[0].usage.completion_tokens  # max_tokens_aggregation


async def test_failures_are_counted_and_not_raised() -> None:
    figures = Figures()
    async with Fleet(2, ending="before_head") as fleet, VLLMPool(fleet.endpoints, model="sim") as pool:
        for name, make in SCENARIOS.items():
            await timed(name, make(Traffic(0), figures), pool, figures)
    assert figures.failure_share == 1.0
    assert figures.runs.total() == len(SCENARIOS)


async def test_what_a_scenario_raises_is_raised_and_not_recorded() -> None:
    async def wrong(pool: VLLMPool) -> Response:
        return await pool.post(99, "hello")

    figures = Figures()
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints) as pool:
        with pytest.raises(IndexError):
            await timed("wrong", wrong, pool, figures)
    assert figures.runs == {}


async def test_cancelling_a_run_cancels_its_request() -> None:
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints, model="sim", model_max_context=4096) as pool:
        with fleet.hold() as hold:
            run = asyncio.create_task(timed("unary", SCENARIOS["unary"](Traffic(0), Figures()), pool, Figures()))
            await hold.wait_for(in_flight=1)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        assert pool.statistics().requests.cancelled == 1


@pytest.mark.parametrize(("returned", "count"), [(None, 0), ("text", 0), ([Response(True, ""), None], 1), ((), 0)])
def test_only_responses_count_of_what_a_scenario_returns(returned: object, count: int) -> None:
    assert len(as_responses(returned)) == count


async def test_a_websocket_is_kept_and_its_messages_are_counted_as_by_the_fleet() -> None:
    figures = Figures()
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints, model="sim") as pool:
        run = SCENARIOS["websocket"](Traffic(0), figures)
        for _ in range(3):
            await timed("websocket", run, pool, figures)
        assert figures.websockets == {"opened": 1, "answered": 24}
        ledger = fleet.ledger
        assert (ledger.websockets, ledger.messages_in, ledger.messages_out) == (1, 24, 24)


async def test_a_message_whose_websocket_ends_is_cut_and_its_run_a_failure() -> None:
    figures = Figures()
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints, model="sim") as pool:
        run = SCENARIOS["websocket"](Traffic(0), figures)
        async with fleet.fault("websocket_rst"):
            _, [failed] = await timed("websocket", run, pool, figures)
        assert failed.kind == "disconnected"
        assert (figures.websockets["opened"], figures.websockets["cut"], figures.unsure) == (1, 1, 0)
        assert 0 <= fleet.ledger.messages_in - figures.websockets["answered"] <= 1


async def test_a_websocket_whose_dial_fails_is_unsure_once() -> None:
    figures = Figures()
    async with Fleet(1) as fleet, VLLMPool([*fleet.endpoints, ("127.0.0.1", 1)], model="sim") as pool:
        only = pool.slice(1, 2)
        _, [refused] = await timed("websocket", SCENARIOS["websocket"](Traffic(0), figures), only, figures)
        figures.look(pool.statistics())
        assert (refused.kind, figures.websockets, figures.unsure) == ("connect", {"failed": 1, "refused": 1}, 1)
        async with fleet.fault("before_head_rst"):
            _, [cut] = await timed("websocket", SCENARIOS["websocket"](Traffic(0), figures), pool.slice(0, 1), figures)
        figures.look(pool.statistics())
        assert (cut.kind, figures.websockets["failed"], figures.unsure) == ("disconnected", 2, 2)


async def test_an_agent_that_is_left_alone_is_a_failure_and_not_raised() -> None:
    figures = Figures()
    health = Health(failures=1, open_seconds=3600.0, longest_open_seconds=3600.0)
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints, model="sim", health=health) as pool:
        assert (await pool.post(0, "hello")).success
        asked, fleet[0].ending = fleet.ledger.requests, "before_head"
        await pool.post(0, "hello")
        for name in ("unary", "stream", "batch", "scatter-gather"):
            _, responses = await timed(name, SCENARIOS[name](Traffic(0), figures), pool, figures)
            assert {response.kind for response in responses} == {"unavailable"}
        assert fleet.ledger.requests == asked + 1
    assert figures.failures == {"unavailable": 1 + 1 + 16 + 2}
