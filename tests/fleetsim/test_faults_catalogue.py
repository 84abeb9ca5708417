from __future__ import annotations

import dataclasses

import pytest

from fleetsim import Fault, FaultError, fault_names, parse_fault
from fleetsim.faults.body import Stall
from fleetsim.faults.catalogue import Stage, catalogued, describe, fault_types, parse_faults
from fleetsim.faults.kinds import After, Connecting, Delay, Receiving, Standing, Status, Talking
from fleetsim.wire.endings import Ending, ending_names

KINDS = (After, Connecting, Delay, Ending, Receiving, Standing, Status, Talking)


def test_the_nine_endings_are_in_the_catalogue() -> None:
    assert set(ending_names()) < set(fault_names())


def test_faults_stand_in_the_order_of_a_connections_life() -> None:
    stages = [kind.stage for kind in fault_types()]
    assert stages == sorted(stages, key=list(Stage).index)
    assert set(stages) == set(Stage)


@pytest.mark.parametrize("kind", fault_types(), ids=fault_names())
def test_each_fault_is_of_one_kind_and_says_what_it_does(kind: type[Fault]) -> None:
    assert sum(issubclass(kind, each) for each in KINDS) == 1
    (told,) = [each for each in describe() if each.name == kind.name]
    for sentence in (told.summary, told.wire, told.aiohttp, told.httpx):
        assert len(sentence) > 8
        assert sentence.endswith(".")
    for parameter in told.parameters:
        assert parameter.unit
        assert parameter.meaning


@pytest.mark.parametrize("name", fault_names())
def test_a_fault_is_written_as_it_is_parsed(name: str) -> None:
    fault = parse_fault(name)
    assert fault.written() == name
    given = {field.name: getattr(fault, field.name) for field in dataclasses.fields(fault)}
    other = dataclasses.replace(
        fault, **{key: value + 1 for key, value in given.items() if isinstance(value, int | float)}
    )
    assert parse_fault(other.written()) == other


def test_a_default_is_not_written() -> None:
    assert Stall(after=7).written() == "stall;after=7"
    assert Stall(seconds=0.08, after=7).written() == "stall;seconds=80ms;after=7"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("slow", "unknown fault 'slow'; expected one of accept_fin, accept_rst, "),
        ("", "unknown fault ''; expected one of "),
        ("rest;after=200", "unknown fault 'rest'; did you mean reset?"),
        ("stale;hwo=fin", "fault 'stale' has no parameter 'hwo'; expected how"),
        ("blackhole;seconds=1s", "fault 'blackhole' has no parameter 'seconds'; it takes none"),
        ("delay;seconds", "fault 'delay': expected seconds=value, got 'seconds'"),
        ("delay;seconds=soon", "fault 'delay': seconds: expected a duration"),
        ("stale;how=bang", "fault 'stale': how: expected fin or rst, got 'bang'"),
        ("close_after;requests=0", "fault 'close_after': requests: expected a whole number of requests of at least 1"),
        ("stall;after=1kB", "fault 'stall': after: expected a whole number of bytes, got '1kB'"),
    ],
)
def test_a_wrong_fault_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse_fault(text)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_several_faults_are_separated_by_commas() -> None:
    assert [fault.written() for fault in parse_faults(" delay ; seconds = 2s , stale, ")] == [
        "delay;seconds=2s",
        "stale",
    ]
    assert parse_faults("") == ()


def test_a_name_is_catalogued_once() -> None:
    with pytest.raises(ValueError, match="has a fault 'stall' already"):
        catalogued(Stall)
    assert fault_names().count("stall") == 1
