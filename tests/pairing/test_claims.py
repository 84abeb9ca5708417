"""Every claim as a test: swarmpool must hold it, and a client that is broken in its respect must fail it."""

from __future__ import annotations

import re

import pytest
from broken_clients import BROKEN, Broken

from fleetsim.proofs.claim import Claim
from fleetsim.proofs.claims import CLAIMS
from fleetsim.proofs.runner import run_claim
from swarmpool.proving import client as swarmpool

LITTLE_PATIENCE = 0.5  # seconds; a broken client would use up any amount
BY_NAME = {claim.name: claim for claim in CLAIMS}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_swarmpool_holds(claim: Claim) -> None:
    result = run_claim(swarmpool, claim, seed=1)
    assert result.verdict == "holds", result.why


@pytest.mark.leaks
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken.claim}-{broken.client.name}")
def test_a_broken_client_fails_for_the_right_reason(broken: Broken) -> None:
    result = run_claim(broken.client, BY_NAME[broken.claim], seed=1, patience=LITTLE_PATIENCE)
    assert result.verdict == "fails"
    assert re.search(broken.why, result.why)


def test_every_claim_has_a_client_that_it_must_fail() -> None:
    assert {broken.claim for broken in BROKEN} == set(BY_NAME)
