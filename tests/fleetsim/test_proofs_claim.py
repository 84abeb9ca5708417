from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from fleetsim.fleet import Fleet
from fleetsim.proofs.aiohttp_client import Answer
from fleetsim.proofs.aiohttp_client import client as bare_aiohttp
from fleetsim.proofs.claim import Evidence, Stage, check_all_ok, endpoints_of, figure, settled
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


def test_evidence_keeps_what_did_not_hold() -> None:
    evidence = Evidence()
    assert evidence.check(True, "never said")
    assert not evidence.check(False, "1 connection too many")
    assert evidence.problems == ["1 connection too many"]


def test_figures_are_put_in_words_and_unknown_ones_left_out() -> None:
    assert figure(opened=1, peak_open=None, open_now=0) == "1 opened, 0 open now"
    assert figure(opened=None) == "-"


def test_failures_and_missing_results_are_counted_and_the_first_is_quoted() -> None:
    evidence = Evidence()
    assert check_all_ok(evidence, [Answer(True), Answer(False, error="reset"), None]) == 2
    assert evidence.problems == ["a request failed (2 of 3): ['reset']"]


def test_outcomes_are_in_order_and_none_where_there_is_no_result() -> None:
    async def raises() -> Answer:
        raise ValueError("foreign")

    async def never() -> Answer:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable")

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
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS) == 15
    assert all(claim.sentence.endswith(".") and len(claim.sentence) < 120 for claim in CLAIMS)
