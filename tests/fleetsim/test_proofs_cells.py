"""What a cell asks and how it judges. The cells as a whole, with right and broken clients: `pairing/test_claims.py`."""

from __future__ import annotations

import pytest

from fleetsim.faults.catalogue import Fault, Stage, fault_names, fault_types, find, parse_fault
from fleetsim.faults.told import EITHER, LATE, NEVER, WHOLE, Told, failed
from fleetsim.proofs.cells import FOLLOWERS, Cell, Way, cells_of, check_followers, judge
from fleetsim.proofs.chat import Answer
from fleetsim.proofs.claim import Evidence
from fleetsim.proofs.claims.faults import CATALOGUE, FaultsAt, right_texts

TEXTS = {prompt: f"answer to {prompt}" for prompt in FOLLOWERS}
SUCCESS = [Answer(True, TEXTS[prompt]) for prompt in FOLLOWERS]


def kind_of(name: str) -> type[Fault]:
    kind = find(name)
    assert kind is not None
    return kind


class Kinded(Answer):
    kind = "reset"


def told(cell_told: Told, outcome: Answer, way: Way = Way.READ, *, kinds: bool = False) -> list[str]:
    evidence = Evidence()
    judge(evidence, Cell(parse_fault("delay"), False, way, cell_told), outcome, "right", kinds=kinds)
    return evidence.problems


def test_a_fault_has_a_cell_for_each_kind_of_request_and_way() -> None:
    cells = list(cells_of(kind_of("refuse")))
    assert [(cell.streamed, cell.way) for cell in cells] == [
        (streamed, way) for streamed in (False, True) for way in Way
    ]
    assert cells[0].name == "refuse unary read"


def test_every_fault_that_an_http_request_can_meet_is_proven() -> None:
    proven = {cell.fault.name for claim in CATALOGUE for cell in scenario_of(claim.scenario).cells}
    assert proven == {kind.name for kind in fault_types() if kind.stage is not Stage.WEBSOCKET}
    assert len(proven) > 50
    assert proven <= set(fault_names())


def scenario_of(scenario: object) -> FaultsAt:
    assert isinstance(scenario, FaultsAt)
    return scenario


def test_a_fault_that_no_http_request_can_meet_has_none() -> None:
    assert list(cells_of(kind_of("slow_upgrade"))) == []


def test_what_holds_an_answer_back_is_short_where_it_is_read_and_long_where_it_is_not() -> None:
    unary = [cell.fault.written() for cell in cells_of(kind_of("stall"))][:3]
    assert unary == ["stall;seconds=1ms", "stall;seconds=1h", "stall;seconds=1h"]
    assert {cell.fault.written() for cell in cells_of(kind_of("idle_fin"))} == {"idle_fin;seconds=1ms"}


def test_the_clients_limit_ends_what_lasts_and_the_callers_the_rest() -> None:
    by_name = {cell.name: cell for name in ("delay", "hang", "eager") for cell in cells_of(kind_of(name))}
    assert not by_name["delay;seconds=1ms unary read"].needs_limit
    assert by_name["delay;seconds=1h unary timed out"].needs_limit
    assert by_name["hang unary read"].needs_limit
    assert by_name["eager unary timed out"].is_given_up
    assert not by_name["hang unary timed out"].is_given_up
    assert by_name["hang unary cancelled"].is_given_up


@pytest.mark.parametrize(
    ("cell_told", "outcome", "way", "problem"),
    [
        (WHOLE, Answer(True, "right"), Way.READ, ""),
        (WHOLE, Answer(True, "ri"), Way.READ, "success with the text 'ri', not 'right'"),
        (WHOLE, Answer(False, error="cut"), Way.READ, "told as failure: cut"),
        (WHOLE, Answer(False, error="late"), Way.TIMED_OUT, "told as failure: late"),
        (LATE, Answer(True, "right"), Way.READ, ""),
        (LATE, Answer(False, error="late"), Way.READ, "told as failure: late"),
        (LATE, Answer(False, error="late"), Way.TIMED_OUT, ""),
        (failed("reset"), Answer(False, error="cut"), Way.READ, ""),
        (failed("reset"), Answer(True, "right"), Way.READ, "told as success"),
        (NEVER, Answer(True, "right"), Way.READ, "told as success"),
        (NEVER, Answer(False, error="late"), Way.READ, ""),
        (EITHER, Answer(True, "right"), Way.READ, ""),
        (EITHER, Answer(True, ""), Way.READ, "success with the text '', not 'right'"),
        (EITHER, Answer(False, error="cut"), Way.READ, ""),
    ],
)
def test_an_outcome_must_be_what_the_fault_says(cell_told: Told, outcome: Answer, way: Way, problem: str) -> None:
    assert "".join(told(cell_told, outcome, way)) == problem


def test_a_failure_must_be_of_the_right_kind_where_the_client_tells_kinds_apart() -> None:
    outcome = Kinded(False, error="cut")
    assert told(failed("reset"), outcome, kinds=True) == []
    assert told(failed("status"), outcome, kinds=False) == []
    assert told(failed("status"), outcome, kinds=True) == ["told as reset, not a failure (status): cut"]
    assert told(EITHER, outcome, kinds=True) == []


def test_each_follower_must_get_its_own_text() -> None:
    evidence = Evidence()
    check_followers(evidence, SUCCESS, TEXTS, spared=0)
    assert evidence.problems == []
    check_followers(evidence, [SUCCESS[1], SUCCESS[0], *SUCCESS[2:]], TEXTS, spared=0)
    assert evidence.problems == ["afterwards 2 answers of another request: ['answer to Who comes after, 1?']"]


def test_a_follower_may_fail_only_where_the_fault_is_meant_for_it() -> None:
    outcomes = [Answer(False, error="stale"), *SUCCESS[1:]]
    for spared, problems in ((1, []), (0, ["afterwards 1 of 20 fail: ['stale']"])):
        evidence = Evidence()
        check_followers(evidence, outcomes, TEXTS, spared=spared)
        assert evidence.problems == problems


async def test_the_right_texts_are_told_apart_and_come_from_the_seed() -> None:
    texts = await right_texts(4711)
    assert len(set(texts.values())) == len(texts) == 21
    assert texts == await right_texts(4711) != await right_texts(4712)
