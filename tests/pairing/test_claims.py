"""Every claim as a test: swarmpool must hold it, and a client that is broken in its respect must fail it."""

from __future__ import annotations

import re

import pytest
from broken_clients import BROKEN, HONEST, Broken

from fleetsim.proofs.claim import Claim
from fleetsim.proofs.claims import CLAIMS
from fleetsim.proofs.runner import CLAIM_DEADLINE, run_claim
from swarmpool.proving import client as swarmpool

pytestmark = pytest.mark.timeout(2 * CLAIM_DEADLINE)
BY_NAME = {claim.name: claim for claim in CLAIMS}
SLOW = {"keepalive-race", "faults-body"}  # the one waits for real servers' real timers, the other is a hundred cells


def marked(case: object, *names: str) -> pytest.ParameterSet:
    """`case` as a parameter with a readable id."""
    return pytest.param(case, id="-".join(names), marks=[pytest.mark.slow] if names[0] in SLOW else [])


@pytest.mark.parametrize("claim", [marked(claim, claim.name) for claim in CLAIMS])
def test_swarmpool_holds(claim: Claim) -> None:
    result = run_claim(swarmpool, claim, seed=1)
    assert result.verdict == "holds", result.why


@pytest.mark.leaks
@pytest.mark.parametrize("broken", [marked(each, each.claim, each.client.name) for each in BROKEN])
def test_a_broken_client_fails_for_the_right_reason(broken: Broken) -> None:
    result = run_claim(broken.client, BY_NAME[broken.claim], seed=1, patience=broken.patience)
    assert result.verdict == "fails"
    assert re.search(broken.why, result.why)


@pytest.mark.parametrize("honest", [marked(each, each.claim, each.client.name) for each in HONEST])
def test_what_the_broken_ones_are_made_from_holds(honest: Broken) -> None:
    """Else they might fail for what they have in common."""
    result = run_claim(honest.client, BY_NAME[honest.claim], seed=1)
    assert result.verdict == "holds", result.why


def test_every_claim_has_a_client_that_it_must_fail() -> None:
    assert {broken.claim for broken in BROKEN} == set(BY_NAME)
