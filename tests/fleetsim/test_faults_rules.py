from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fault_lines import AtAccept, connection, request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from fleetsim.errors import FaultError, RuleError
from fleetsim.faults.catalogue import parse_fault
from fleetsim.faults.rules import ArmedRule, Rule, as_fault
from fleetsim.faults.where import Where, as_where


def armed(rule: Rule | str, *, number: int = 1, seed: int = 0) -> ArmedRule:
    made = ArmedRule(Rule.parse(rule), number, seed, lambda gone: None)
    made.begin(0.0)
    return made


def strikes(rule: ArmedRule, count: int, *, server: int = 0, now: float = 0.0) -> list[bool]:
    return [rule.strikes_request(server, request(), {}, now) for _ in range(count)]


def test_a_rule_without_words_strikes_every_request() -> None:
    rule = armed("reset")
    assert strikes(rule, 3) == [True] * 3
    assert (rule.armed, rule.fired) == (3, 3)


def test_times_is_how_often_at_most() -> None:
    rule = armed(Rule(parse_fault("reset"), times=2))
    assert strikes(rule, 4) == [True, True, False, False]
    assert (rule.armed, rule.fired) == (2, 2)
    assert rule.is_over(0.0)


def test_after_is_how_many_pass_before() -> None:
    rule = armed(Rule(parse_fault("reset"), after=2, times=1))
    assert strikes(rule, 4) == [False, False, True, False]
    assert (rule.armed, rule.fired) == (3, 1)


def test_after_its_time_it_has_healed_itself() -> None:
    rule = ArmedRule(Rule(parse_fault("reset"), for_=10.0), 1, 0, lambda gone: None)
    rule.begin(100.0)
    rule.begin(500.0)
    assert strikes(rule, 1, now=109.9) == [True]
    assert not rule.is_over(109.9)
    assert strikes(rule, 1, now=110.0) == [False]
    assert rule.is_over(110.0)
    assert (rule.armed, rule.fired) == (1, 1)


def test_a_duration_does_not_count_before_the_fleet_runs() -> None:
    rule = ArmedRule(Rule(parse_fault("reset"), for_=10.0), 1, 0, lambda gone: None)
    assert not rule.is_over(1e9)
    rule.begin(1e9)
    assert not rule.is_over(1e9 + 9)
    assert rule.is_over(1e9 + 10)


@given(rate=st.floats(0.01, 0.99), seed=st.integers(0, 2**32), orders=st.permutations([0] * 8 + [1] * 8))
def test_each_server_has_the_same_strikes_in_whatever_order_the_requests_come(
    rate: float, seed: int, orders: list[int]
) -> None:
    rule = Rule(parse_fault("reset"), rate=rate)
    alone = {server: strikes(armed(rule, seed=seed), 8, server=server) for server in (0, 1)}
    mixed = armed(rule, seed=seed)
    seen: dict[int, list[bool]] = {0: [], 1: []}
    for server in orders:
        seen[server] += strikes(mixed, 1, server=server)
    assert seen == alone


@given(
    rate=st.floats(0, 1),
    times=st.none() | st.integers(1, 5),
    after=st.integers(0, 5),
    seed=st.integers(),
    count=st.integers(0, 40),
)
def test_a_rule_never_strikes_more_than_it_may(
    rate: float, times: int | None, after: int, seed: int, count: int
) -> None:
    rule = armed(Rule(parse_fault("reset"), rate=rate, times=times, after=after, seed=seed))
    struck = strikes(rule, count)
    assert sum(struck) == rule.fired <= rule.armed <= count
    assert not any(struck[:after])
    assert times is None or rule.fired <= times
    assert struck == strikes(armed(rule.rule), count)
    if rate == 1:
        assert rule.fired == min(max(0, count - after), count if times is None else times)


def test_a_rate_is_a_share() -> None:
    assert 400 < sum(strikes(armed(Rule(parse_fault("reset"), rate=0.25, seed=7)), 2000)) < 600


def test_a_seed_of_its_own_makes_a_rule_independent_of_its_number_and_of_the_fleet() -> None:
    own = Rule(parse_fault("reset"), rate=0.5, seed=3)
    assert strikes(armed(own, number=1, seed=1), 64) == strikes(armed(own, number=2, seed=2), 64)
    lent = Rule(parse_fault("reset"), rate=0.5)
    assert strikes(armed(lent, number=1), 64) != strikes(armed(lent, number=2), 64)
    assert strikes(armed(lent, seed=1), 64) != strikes(armed(lent, seed=2), 64)


def test_the_nth_request_of_a_connection_may_be_meant() -> None:
    rule = armed(Rule(parse_fault("reset"), where=Where(request=2)))
    line = connection()
    assert [rule.strikes_request(0, request(line), {}, 0.0) for _ in range(3)] == [False, True, False]
    assert rule.armed == 1


def test_the_nth_connection_since_the_rule_was_armed_may_be_meant() -> None:
    rule = armed(Rule(parse_fault("reset"), where=Where(connection=2)))
    lines = [connection(number) for number in (11, 12, 13)]
    for line in lines:
        rule.count_connection(line)
    assert [rule.strikes_request(0, request(line), {}, 0.0) for line in lines] == [False, True, False]
    assert rule.strikes_request(0, request(lines[1]), {}, 0.0)


def test_a_fault_of_the_connect_stage_strikes_connections_alone_and_another_requests_alone() -> None:
    early, late = armed(Rule(AtAccept())), armed("reset")
    assert early.strikes_connection(0, connection(), 0.0)
    assert not early.strikes_request(0, request(), {}, 0.0)
    assert not late.strikes_connection(0, connection(), 0.0)
    assert (early.armed, late.armed) == (1, 0)


@pytest.mark.parametrize(
    ("where", "path", "headers", "meant"),
    [
        (Where(), "/", {}, True),
        (Where(route="/v1/models"), "/v1/models", {}, True),
        (Where(route="/v1/models"), "/v1/models/x", {}, False),
        (Where(route="/v1/*"), "/v1/chat/completions", {}, True),
        (Where(route="/v1/*"), "/V1/chat", {}, False),
        (Where(header="X-Tenant"), "/", {"x-tenant": "blue"}, True),
        (Where(header="X-Tenant=blue"), "/", {"x-tenant": "blue"}, True),
        (Where(header="X-Tenant=red"), "/", {"x-tenant": "blue"}, False),
        (Where(header="X-Tenant"), "/", {}, False),
        (Where(route="/v1/*", header="x-tenant"), "/v1/models", {}, False),
    ],
)
def test_a_request_is_meant_by_path_and_header(where: Where, path: str, headers: dict[str, str], meant: bool) -> None:
    rule = armed(Rule(parse_fault("reset"), where=where))
    assert rule.strikes_request(0, request(path=path), CIMultiDict(headers), 0.0) is meant
    assert rule.armed == meant


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Rule(parse_fault("reset"), rate=1.5), "rate: expected a number from 0 to 1, got 1.5"),
        (lambda: Rule(parse_fault("reset"), rate=True), "rate: expected a number from 0 to 1, got True"),
        (lambda: Rule(parse_fault("reset"), times=0), "times: expected a whole number of at least 1"),
        (lambda: Rule(parse_fault("reset"), after=-1), "after: expected a whole number of occasions to let pass"),
        (lambda: Rule(parse_fault("reset"), for_=0), "for: expected a duration above 0, such as 10s, got 0.0"),
        (lambda: Rule.parse({"fault": "reset", "for": "10"}), "for: expected a duration such as 80ms"),
        (lambda: Rule.parse({"fault": "reset", "seed": "x"}), "seed: expected a whole number, got 'x'"),
        (lambda: Rule.parse({"fault": "reset", "whenever": 1}), "whenever: unknown word; expected one of fault, rate"),
        (lambda: Rule.parse({"rate": 0.5}), "fault: expected the name of a fault, got none in {'rate': 0.5}"),
        (lambda: Rule.parse(7), "expected a fault's name, or a mapping with `fault`, got 7"),
        (lambda: Rule(AtAccept(), where=Where(route="/")), "where: route: expected none for at_accept"),
        (lambda: Where(server=-1), r"where: server: expected the index of a server, or several, got \(-1,\)"),
        (lambda: Where(server=()), "where: server: expected"),
        (lambda: Where(tag=" "), "where: tag: expected key or key=value, got ' '"),
        (lambda: Where(request=0), "where: request: expected a whole number of at least 1, got 0"),
        (lambda: as_where({"rack": 1}), "where: rack: unknown word; expected one of server, tag"),
        (lambda: as_where("rack"), "where: expected a mapping of server, tag"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(RuleError, match=complaint):
        make()


@pytest.mark.parametrize("value", ["no_such_fault", 7, None, "reset;often=1"])
def test_a_fault_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(FaultError, match=r"fault|ending"):
        as_fault(value)


def test_a_parameter_may_be_named_with_its_unit() -> None:
    assert as_fault("reset", {"after_bytes": 200}) == as_fault("reset;after=200") == as_fault("reset", {"after": 200})
    with pytest.raises(FaultError, match="'reset' has no parameter 'after_moons'; expected after"):
        as_fault("reset", {"after_moons": 200})


@given(
    fault=st.sampled_from(["reset;after=7", "before_head", "delayed;seconds=80ms"]),
    rate=st.floats(0, 1),
    times=st.none() | st.integers(1),
    after=st.integers(0),
    for_=st.none() | st.floats(0.001, 1e6),
    where=st.builds(
        Where,
        server=st.none() | st.integers(0) | st.lists(st.integers(0), min_size=1),
        route=st.none() | st.just("/v1/*"),
        request=st.none() | st.integers(1),
    ),
    seed=st.none() | st.integers(),
)
def test_what_a_rule_writes_is_that_rule_again(fault: str, **words: Any) -> None:
    rule = Rule(as_fault(fault), **words)
    assert Rule.parse(rule.written()) == rule
    assert Rule.parse(rule) is rule
