from __future__ import annotations

import asyncio
import warnings

import pytest

from fleetsim.proofs import runner
from fleetsim.proofs.aiohttp_client import client as bare_aiohttp
from fleetsim.proofs.claim import Claim, Stage
from fleetsim.proofs.runner import run_claim, run_claims


def claim(scenario: object, *, needs: frozenset[str] = frozenset()) -> Claim:
    return Claim("a-claim", "A sentence.", scenario, needs)  # type: ignore[arg-type]  # any async function does


async def holds(stage: Stage) -> None:
    stage.evidence.client, stage.evidence.fleet = "1 opened", "1 accepted"


def test_a_claim_holds_when_nothing_is_held_against_it() -> None:
    result = run_claim(bare_aiohttp, claim(holds), seed=1)
    assert (result.name, result.claim, result.verdict, result.why) == ("a-claim", "A sentence.", "holds", "")
    assert (result.client_figure, result.fleet_figure) == ("1 opened", "1 accepted")


def test_the_first_problems_are_the_reason_and_the_rest_is_counted() -> None:
    async def scenario(stage: Stage) -> None:
        for number in range(5):
            stage.evidence.check(False, f"problem {number}")

    result = run_claim(bare_aiohttp, claim(scenario), seed=1)
    assert result.verdict == "fails"
    assert result.why == "problem 0; problem 1; problem 2; and 2 more"


def test_what_a_client_raises_is_its_verdict_with_the_place() -> None:
    async def scenario(stage: Stage) -> None:
        raise KeyError("choices")

    result = run_claim(bare_aiohttp, claim(scenario), seed=1)
    assert result.verdict == "fails"
    assert result.why.startswith("raised KeyError: 'choices' (test_proofs_runner.py:")


def test_a_cancellation_that_nobody_sent_is_the_clients_own() -> None:
    async def scenario(stage: Stage) -> None:
        raise asyncio.CancelledError

    result = run_claim(bare_aiohttp, claim(scenario), seed=1)
    assert result.verdict == "fails"
    assert result.why.endswith("which nobody had sent")


def test_a_scenario_that_never_ends_fails_and_its_tasks_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CLAIM_DEADLINE", 0.1)

    async def scenario(stage: Stage) -> None:
        await asyncio.get_running_loop().create_future()

    assert run_claim(bare_aiohttp, claim(scenario), seed=1).why == "not finished after 0.1 s"


def test_a_claim_that_needs_what_a_client_has_not_does_not_apply() -> None:
    result = run_claim(bare_aiohttp, claim(holds, needs=frozenset({"views"})), seed=1)
    assert (result.verdict, result.why, result.seconds) == ("n/a", "aiohttp does not have: views", 0.0)


def test_chance_comes_from_the_seed() -> None:
    async def scenario(stage: Stage) -> None:
        stage.evidence.client = str(stage.rng.random())

    figures = [run_claim(bare_aiohttp, claim(scenario), seed=seed).client_figure for seed in (4711, 4711, 4712)]
    assert figures[0] == figures[1] != figures[2]


def test_a_scenario_can_see_what_was_complained_about() -> None:
    async def scenario(stage: Stage) -> None:
        warnings.warn("left open", ResourceWarning, stacklevel=1)
        stage.evidence.client = str(stage.complaints.collect())

    assert run_claim(bare_aiohttp, claim(scenario), seed=1).client_figure == "['ResourceWarning: left open']"


def test_claims_run_in_order_and_each_start_is_told() -> None:
    seen: list[str] = []
    claims = [Claim(name, "A sentence.", holds) for name in ("first", "second")]
    results = run_claims(bare_aiohttp, claims, 1, started=lambda claim: seen.append(claim.name))
    assert next(results).name == "first"
    assert seen == ["first"]
    assert next(results).name == "second"
    assert seen == ["first", "second"]
