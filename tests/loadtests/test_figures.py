from __future__ import annotations

import json

import pytest

from fleetsim import Fleet
from loadtests.figures import Figures
from swarmpool import AgentUnavailable, FailureKind, Health, Hedge, Response, Retry, VLLMPool


def answer(kind: FailureKind | None = None, **facts: float) -> Response:
    return Response(kind is None, "", kind=kind, **facts)  # type: ignore[arg-type]  # only its durations are given


def measured() -> Figures:
    figures = Figures()
    figures.record("unary", 0.5, [answer(queue_seconds=0.1, wire_seconds=0.4)])
    figures.record("stream", 0.9, [answer(first_token_seconds=0.2), answer(FailureKind.RESET)])
    figures.gap(0.01)
    figures.connections |= {"opened": 2, "reused": 6}
    figures.care |= {"retried": 3, "ejected_now": 1}
    figures.given_up = 1
    figures.message(answered=True)
    return figures


def test_durations_are_kept_by_name_and_failures_by_kind() -> None:
    figures = measured()
    assert {name: histogram.count for name, histogram in figures.durations.items()} == {
        "elapsed": 2,
        "queue": 3,
        "wire": 3,
        "first_token": 1,
        "gap": 1,
    }
    assert (figures.runs, figures.failures) == ({"unary": 1, "stream": 1}, {"reset": 1})
    assert (figures.responses, figures.failed) == (3, 1)
    assert figures.failure_share == pytest.approx(1 / 3)


def test_reuse_is_a_share_of_exchanges() -> None:
    figures = measured()
    assert (figures.reuse_ratio, figures.requests_per_connection) == (0.75, 4.0)
    assert (Figures().reuse_ratio, Figures().requests_per_connection, Figures().failure_share) == (None, None, 0.0)


def test_the_total_of_processes_is_their_sum_however_it_was_sent() -> None:
    sent = json.loads(json.dumps(measured().written()))
    assert Figures.total([sent]).written() == measured().written()
    total = Figures.total([sent, sent])
    assert (total.responses, total.failed, total.unsure, total.runs["unary"]) == (6, 2, 2, 2)
    assert (total.connections["reused"], total.reuse_ratio) == (12, 0.75)
    assert total.durations["wire"].count == 6
    assert total.websockets == {"answered": 2}
    assert (total.care["retried"], total.care["ejected_now"], total.care["hedged"]) == (6, 2, 0)


async def test_connections_are_those_of_the_pool() -> None:
    figures = Figures()
    async with Fleet(2) as fleet, VLLMPool(fleet.endpoints) as pool:
        await pool.send_all(["hello"] * 10)
        figures.look(pool.statistics())
        counted = pool.statistics().connections
        assert figures.connections["opened"] == counted.opened == fleet.ledger.opened
        assert figures.connections["reused"] == counted.reused
    assert figures.unsure == 0


@pytest.mark.parametrize(("ending", "requests", "unsure"), [("before_head", 1, 1), ("truncated", 1, 0), ("", 2, 0)])
async def test_a_request_cut_before_its_answer_is_unsure(ending: str, requests: int, unsure: int) -> None:
    figures = Figures()
    async with Fleet(1, ending=ending or None) as fleet, VLLMPool(fleet.endpoints, model="sim") as pool:
        figures.record("unary", 0.1, [await pool.post(0, "hello", 4) for _ in range(requests)])
    assert figures.unsure == unsure


def test_a_try_before_the_last_is_unsure_however_that_ended() -> None:
    figures = Figures()
    figures.record("unary", 0.1, [answer(attempts=1), answer(attempts=2), answer(FailureKind.CONNECT, attempts=2)])
    assert figures.unsure == 2


async def test_a_refused_dial_is_certain_and_a_cancelled_request_is_not() -> None:
    figures = Figures()
    async with Fleet(1) as fleet, VLLMPool([*fleet.endpoints, ("127.0.0.1", 1)], model="sim") as pool:
        refused = await pool.post(1, "hello", 4)
        assert refused.kind is FailureKind.CONNECT
        figures.look(pool.statistics())
        assert (figures.connections["failed"], figures.unsure) == (1, 0)
        async with pool.stream(0, "hello", 4) as stream:
            await anext(stream)
        figures.look(pool.statistics())
        assert figures.unsure == 1


async def test_what_was_done_for_requests_is_what_the_pool_says() -> None:
    figures = Figures()
    retry, health = Retry(tries=2, pause=0.001), Health(failures=2)
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints, model="sim", retry=retry, health=health) as pool:
        with fleet.fault("unavailable"):
            figures.record("unary", 0.1, [await pool.post(0, "hello", 4)])
            with pytest.raises(AgentUnavailable):
                await pool.post(0, "hello", 4)
        figures.look(pool.statistics())
    assert figures.care == {
        "retried": 1,
        "ejected": 1,
        "probing": 0,
        "returned": 0,
        "ejected_now": 1,
        "hedged": 0,
        "hedge_won": 0,
    }
    assert figures.unsure == 0, "a request that was refused in so many words has arrived"


async def test_a_refused_dial_is_certain_though_its_request_was_tried_again() -> None:
    figures = Figures()
    retry = Retry(tries=3, pause=0.001)
    async with VLLMPool([("127.0.0.1", 1)], model="sim", retry=retry, on_event=figures.event) as pool:
        figures.record("unary", 0.1, [await pool.post(0, "hello", 4)])
        figures.look(pool.statistics())
    assert (figures.connections["failed"], figures.care["retried"], figures.unsure) == (3, 2, 0)


async def test_a_try_cut_before_its_answer_is_unsure_though_the_next_succeeded() -> None:
    figures = Figures()
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints, model="sim", retry=Retry(pause=0.001, unsafe=True)) as pool:
        with fleet.fault("before_head", times=1):
            response = await pool.post(0, "hello", 4)
        figures.record("unary", 0.1, [response])
    assert (response.success, figures.unsure) == (True, 1)


async def test_a_try_that_lost_a_race_is_unsure() -> None:
    figures = Figures()
    hedge = Hedge(after=0.01, share=1.0)
    async with Fleet(2) as fleet, VLLMPool(fleet.endpoints, model="sim", hedge=hedge) as pool:
        with fleet.fault("delay", seconds="1h", times=1):
            response = await pool.ask("hello", 4)
        figures.record("unary", 0.1, [response])
        figures.look(pool.statistics())
    assert (response.success, figures.care["hedged"], figures.unsure) == (True, 1, 1)
