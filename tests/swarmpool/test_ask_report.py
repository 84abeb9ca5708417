"""Figures of answers: what a percentile is, whose line is whose, what is left out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool import AgentPool
from swarmpool.ask_report import AskReport, Latencies, as_json, as_text, ask_report, latencies
from swarmpool.responses import FailureKind, Response

POOL = AgentPool([("a", 1), ("b", 2), ("c", 3)])


def response(agent: int, wire: float, queued: float = 0.0, kind: FailureKind | None = None) -> Response:
    error = None if kind is None else f"{kind} of {agent}"
    return Response(kind is None, "hi", error, agent, agent, kind=kind, wire_seconds=wire, queue_seconds=queued)


def report(*responses: Response) -> AskReport:
    return ask_report(POOL.endpoints, responses, POOL.statistics(), 2.0)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_percentile_is_the_least_that_so_many_do_not_exceed(seconds: list[float]) -> None:
    found = latencies(seconds)
    for percent, value in ((50, found.p50), (90, found.p90), (95, found.p95), (99, found.p99), (100, found.max)):
        assert value in seconds
        assert sum(each <= value for each in seconds) * 100 >= percent * len(seconds)
        assert sum(each < value for each in seconds) * 100 < percent * len(seconds)


def test_no_requests_have_no_latencies() -> None:
    assert latencies([]) == Latencies(None, None, None, None, None)


def test_failures_are_counted_by_kind_and_have_no_part_in_the_latencies() -> None:
    made = report(
        response(0, 1.0, 0.5),
        response(1, 9.0, kind=FailureKind.TIMEOUT),
        response(0, 3.0),
        response(2, 0.1, kind=FailureKind.STATUS),
        response(1, 0.1, kind=FailureKind.STATUS),
    )
    assert (made.requests, made.succeeded, made.failed) == (5, 2, 3)
    assert made.failures == {"status": 2, "timeout": 1}
    assert list(made.failures) == ["status", "timeout"]
    assert made.first_failure == "timeout of 1"
    assert (made.wire.p50, made.wire.max, made.queued.max) == (1.0, 3.0, 0.5)
    assert [(line.url, line.requests, line.failed) for line in made.agents] == [
        ("http://a:1", 2, 0),
        ("http://b:2", 2, 2),
        ("http://c:3", 1, 1),
    ]
    assert made.agents[1].seconds.p50 is None


def test_as_json_it_has_everything_and_the_answer_if_there_is_one_request() -> None:
    made = report(response(0, 1.0))
    told = json.loads(json.dumps(as_json(made, "hello")))
    assert (told["requests"], told["agents"][0]["seconds"]["p50"], told["answer"]) == (1, 1.0, "hello")
    assert "answer" not in as_json(made, None)


def test_as_text_it_is_a_table_with_the_agents_that_were_asked() -> None:
    text = as_text(report(response(0, 1.0, 0.25), response(1, 2.0, kind=FailureKind.RESET)), None)
    assert text.splitlines()[:3] == [
        "1 of 2 requests answered in 2.000 s",
        "connections: 0 opened, 0 reused",
        "failures: 1 reset (the first: reset of 1)",
    ]
    assert [line.split() for line in text.splitlines()[4:]] == [
        ["seconds", "p50", "p90", "p95", "p99", "max"],
        ["queued", "0.000", "0.250", "0.250", "0.250", "0.250"],
        ["on", "wire", "1.000", "1.000", "1.000", "1.000", "1.000"],
        [],
        ["agent", "requests", "failed", "p50", "p90", "p95", "p99", "max"],
        ["http://a:1", "1", "0", "1.000", "1.000", "1.000", "1.000", "1.000"],
        ["http://b:2", "1", "1", "-", "-", "-", "-", "-"],
    ]
    assert as_text(report(response(0, 1.0)), "An answer.").startswith("An answer.\n\n1 of 1 requests")


@pytest.mark.parametrize(("agents", "last"), [(50, "http://a:1"), (53, "and 3 agents more")])
def test_of_many_agents_the_first_are_shown_and_the_others_counted(agents: int, last: str) -> None:
    made = report(response(0, 1.0))
    text = as_text(replace(made, agents=made.agents[:1] * agents), None)
    assert text.splitlines()[-1].startswith(last)
