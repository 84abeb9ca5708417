from __future__ import annotations

from collections.abc import Sequence

import pytest
from fault_lines import AtAccept, request
from hypothesis import given
from hypothesis import strategies as st

from fleetsim.errors import FaultError, RuleError
from fleetsim.faults.catalogue import Fault, parse_fault
from fleetsim.faults.rules import Rule
from fleetsim.faults.scripts import Script, ScriptRule, Step, parse_rule, read_steps, written_steps
from fleetsim.faults.where import Where

RESET, GONE = parse_fault("reset"), parse_fault("before_head")
RESET_200 = parse_fault("reset;after=200")


def script(*steps: Step, where: Where | None = None) -> Script:
    return Script(steps, where or Where(), lambda gone: None)


def taken(by: Script, count: int) -> list[Sequence[Fault] | None]:
    return [by.for_request(request(), {}) for _ in range(count)]


def test_each_request_takes_one_step_and_then_the_script_has_nothing_to_say() -> None:
    assert taken(script("2x before_head", "ok", RESET), 5) == [(GONE,), (GONE,), (), (RESET,), None]


def test_a_step_is_a_fault_its_text_or_ok_and_text_may_repeat_it() -> None:
    assert read_steps([None, "ok", "2x ok", RESET, "2x before_head"]) == (None, None, None, None, RESET, GONE, GONE)


@given(st.lists(st.sampled_from([None, "ok", "reset", "before_head", RESET, "3x reset", "2x ok"]), min_size=1))
def test_a_script_is_consumed_by_as_many_requests_as_it_has_steps(steps: list[Step]) -> None:
    whole = script(*steps)
    for left in range(len(whole.steps), 0, -1):
        assert len(whole.remaining) == left
        with pytest.raises(AssertionError, match=rf"{left} of {len(whole.steps)} steps were not taken"):
            whole.assert_consumed()
        expected = whole.remaining[0]
        assert whole.for_request(request(), {}) == (() if expected is None else (expected,))
    whole.assert_consumed()
    assert whole.for_request(request(), {}) is None


def test_what_is_left_of_a_script_is_named() -> None:
    part = script("reset;after=5", "ok", "before_head")
    part.for_request(request(), {})
    with pytest.raises(AssertionError, match="script: 2 of 3 steps were not taken: ok, before_head"):
        part.assert_consumed()


def test_requests_that_are_not_meant_take_no_step() -> None:
    narrow = script("reset", where=Where(route="/v1/chat/*"))
    assert narrow.for_request(request(path="/v1/models"), {}) is None
    assert narrow.for_request(request(path="/v1/chat/completions"), {}) == (RESET,)


def test_a_step_for_a_connection_waits_for_one() -> None:
    mixed = script("reset", AtAccept(), "ok")
    assert mixed.for_connection() is None
    assert taken(mixed, 2) == [(RESET,), ()]
    assert mixed.for_connection() == AtAccept()
    assert mixed.for_connection() is None
    assert taken(mixed, 2) == [(), None]
    mixed.assert_consumed()


@pytest.mark.parametrize("steps", [[], ["0x reset"]])
def test_a_script_without_steps_is_refused(steps: list[Step]) -> None:
    with pytest.raises(RuleError, match="expected at least one step"):
        script(*steps)


@pytest.mark.parametrize("step", ["okay", "2x okay", "x reset", 7])
def test_a_step_that_is_none_is_refused(step: Step) -> None:
    with pytest.raises(FaultError, match="fault"):
        script(step)


def test_a_script_counts_what_it_was_taken_for() -> None:
    counted = script("ok", "2x reset")
    taken(counted, 2)
    assert (counted.armed, counted.fired) == (2, 1)


@given(st.lists(st.sampled_from([None, RESET, GONE, parse_fault("reset;after=5")]), min_size=1))
def test_steps_are_read_back_as_they_are_written(steps: list[Fault | None]) -> None:
    assert read_steps(written_steps(steps)) == tuple(steps)


def test_equal_steps_in_a_row_are_written_once() -> None:
    assert written_steps((GONE, GONE, None, RESET, RESET)) == ["2x before_head", "ok", "2x reset"]


@pytest.mark.parametrize(
    "written",
    [
        ["3x unavailable", "reset;after=200", "ok"],
        "3x unavailable, reset;after=200 ,ok,",
        ("3x unavailable", RESET_200, None),
    ],
)
def test_a_script_is_a_list_of_steps_or_one_text(written: object) -> None:
    rule = parse_rule({"script": written, "where": {"server": 3, "route": "/v1/*"}})
    assert isinstance(rule, ScriptRule)
    assert rule.written() == {
        "script": ["3x unavailable", "reset;after=200", "ok"],
        "where": {"server": 3, "route": "/v1/*"},
    }
    assert parse_rule(rule.written()) == parse_rule(rule) == rule


def test_a_script_for_all_servers_and_requests_says_no_more() -> None:
    assert ScriptRule((GONE,)).written() == {"script": ["before_head"]}


@pytest.mark.parametrize("written", ["reset", {"fault": "reset"}])
def test_what_has_no_script_is_a_rule(written: object) -> None:
    assert parse_rule(written) == Rule(RESET)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ({"script": []}, "script: expected at least one step"),
        ({"script": " , "}, "script: expected at least one step"),
        ({"script": 7}, "script: expected a list of steps, or one text with commas between them, got 7"),
        (
            {"script": {"fault": "reset"}},
            "script: expected a list of steps, or one text with commas between them, got {",
        ),
        ({"script": ["sulk"]}, "unknown fault 'sulk'"),
        ({"script": ["refuse"]}, "script: expected faults of connections and requests, got refuse"),
        ({"script": ["reset"], "fault": "reset"}, "fault: expected none beside script, got 'reset'"),
        ({"script": ["reset"], "rate": 0.5}, "rate: expected none beside script, got 0.5"),
        ({"script": ["reset"], "where": {"request": 2}}, "where: request: expected none for a script, which counts"),
        ({"script": ["reset"], "where": {"connection": 2}}, "where: connection: expected none for a script, which"),
        ({"script": ["reset"], "where": {"rack": 2}}, "where: rack: unknown word"),
    ],
)
def test_a_script_written_wrongly_is_refused_in_one_sentence(written: object, complaint: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse_rule(written)
    assert str(caught.value).startswith(complaint)
