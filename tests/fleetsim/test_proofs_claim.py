from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from fleetsim.fleet import Fleet
from fleetsim.proofs.aiohttp_client import client as bare_aiohttp
from fleetsim.proofs.chat import Answer
from fleetsim.proofs.claim import (
    IMPATIENCE,
    Evidence,
    Stage,
    brief,
    check_all_ok,
    counted,
    endpoints_of,
    figure,
    joined,
    settled,
    totals,
)
from fleetsim.proofs.claims import CLAIMS
from fleetsim.proofs.complaints import Complaints
from fleetsim.proofs.witness import WatchedLoop


def on_stage(work: Any, *, patience: float = 5.0) -> Any:
    """Run `work(stage)` in a watched loop and return its result."""
    loop = WatchedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(Stage(bare_aiohttp, 1, loop, Complaints(), patience)))


async def answer(ok: bool) -> Answer:
    return Answer(ok, error="" if ok else "it broke")


async def never() -> Answer:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


def test_evidence_keeps_what_did_not_hold() -> None:
    evidence = Evidence()
    assert evidence.check(True, "never said")
    assert not evidence.check(False, "1 connection too many")
    assert evidence.problems == ["1 connection too many"]


def test_figures_are_put_in_words_and_unknown_ones_left_out() -> None:
    assert figure(opened=1, peak_open=None, open_now=0) == "1 opened, 0 open now"
    assert figure(opened=None) == "-"


def test_what_a_client_says_is_cut_to_its_first_words() -> None:
    assert brief("short") == "short"
    assert brief("first line\nsecond") == "first line"
    assert brief("x" * 200) == "x" * 100 + "..."
    assert brief("") == ""


def test_a_part_of_a_stage_has_evidence_and_patience_of_its_own() -> None:
    async def work(stage: Stage) -> None:
        part = stage.part()
        part.evidence.check(False, "of the part alone")
        part.lose_patience()
        assert stage.evidence.problems == []
        assert stage.patience > part.patience

    on_stage(work)


def test_figures_are_joined_and_those_that_say_nothing_left_out() -> None:
    assert joined("1 opened", "-", "2 closed") == "1 opened, 2 closed"
    assert joined("-", "-") == "-"


def test_the_ledgers_of_a_scenario_are_summed() -> None:
    async def work(stage: Stage) -> str:
        async with stage.fleet(1) as first, stage.fleet(1) as second:
            for fleet, requests in ((first, 2), (second, 1)):
                async with stage.pool(endpoints_of(fleet)) as pool:
                    check_all_ok(stage.evidence, [await pool.request(0, f"{n}") for n in range(requests)])
            await stage.until(lambda: first.ledger.in_flight + second.ledger.in_flight == 0)
            return totals(first.ledger, second.ledger)

    assert on_stage(work) == "3 requests, 2 opened, 0 in flight"


def test_one_thing_is_not_told_in_the_plural() -> None:
    assert [counted(number, "socket") for number in (0, 1, 2)] == ["0 sockets", "1 socket", "2 sockets"]


def test_failures_and_missing_results_are_counted_and_the_first_is_quoted() -> None:
    evidence = Evidence()
    assert check_all_ok(evidence, [Answer(True), Answer(False, error="reset"), None]) == 2
    assert evidence.problems == ["a request failed (2 of 3): ['reset']"]


def test_outcomes_are_in_order_and_none_where_there_is_no_result() -> None:
    async def raises() -> Answer:
        raise ValueError("foreign")

    async def work(stage: Stage) -> list[bool | None]:
        works: list[Coroutine[Any, Any, Answer]] = [answer(True), raises(), never(), answer(False)]
        outcomes = await stage.finish([stage.start(each) for each in works])
        await stage.dismiss()
        return [outcome.ok if outcome else None for outcome in outcomes]

    assert on_stage(work, patience=0.05) == [True, None, None, False]


def test_until_says_whether_it_came_true_in_time() -> None:
    async def work(stage: Stage) -> tuple[bool, bool]:
        flag = asyncio.Event()
        stage.loop.call_later(0.01, flag.set)
        return await stage.until(flag.is_set), await stage.until(lambda: False)

    assert on_stage(work, patience=0.2) == (True, False)


@pytest.mark.parametrize("kind", ["until", "ended", "finish"])
def test_a_deadline_that_passed_in_vain_ends_the_patience(kind: str) -> None:
    """So a client that is stuck costs one long wait per claim, not one for each step."""

    async def work(stage: Stage) -> float:
        stage.patience = IMPATIENCE + 0.01
        stuck = stage.start(never())
        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "until": lambda: stage.until(lambda: False),
            "ended": lambda: stage.ended([stuck]),
            "finish": lambda: stage.finish([stuck]),
        }
        await waits[kind]()
        await stage.dismiss()
        return stage.patience

    assert on_stage(work) == IMPATIENCE


def test_what_comes_in_time_costs_no_patience() -> None:
    async def work(stage: Stage) -> tuple[bool, bool, float]:
        ended = await stage.ended([stage.start(answer(True))])
        return ended, await stage.ended([]), stage.patience

    assert on_stage(work) == (True, True, 5.0)


def test_little_patience_does_not_grow_when_it_ends() -> None:
    async def work(stage: Stage) -> float:
        await stage.until(lambda: False)
        return stage.patience

    assert on_stage(work, patience=0.05) == 0.05


def test_settled_waits_for_what_still_moves() -> None:
    async def work(stage: Stage) -> int:
        ticks: list[int] = []

        async def moves() -> Answer:
            for tick in range(20):
                ticks.append(tick)
                await asyncio.sleep(0.005)
            return Answer(True)

        stage.launch(moves())
        await settled(lambda: len(ticks))
        await stage.dismiss()
        return len(ticks)

    assert on_stage(work) == 20


def test_a_fleets_servers_become_endpoints_with_tags_by_index() -> None:
    async def work(stage: Stage) -> None:
        async with Fleet(2, seed=1) as fleet:
            first, second = endpoints_of(fleet, number=str)
            assert (first.host, first.port) == (fleet.endpoints[0].host, fleet.endpoints[0].port)
            assert (first.tags, second.tags) == ({"number": "0"}, {"number": "1"})

    on_stage(work)


def test_claims_have_distinct_names_and_sentences_fit_for_a_table() -> None:
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS) >= 15 + 7
    assert all(claim.sentence.endswith(".") and len(claim.sentence) < 120 for claim in CLAIMS)
