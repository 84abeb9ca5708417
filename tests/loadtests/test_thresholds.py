from __future__ import annotations

import pytest

from loadtests.figures import Figures
from loadtests.thresholds import Limits, judge
from swarmpool import FailureKind, Response

STRICT = Limits(p95=1.0, failures=0.1, reuse=0.9, requests_per_connection=10.0)
BEFORE = {"opened": 5, "closed": 5, "reused": 50, "open_now": 0}
AFTER = {"opened": 7, "closed": 7, "reused": 88, "open_now": 0}


def good() -> Figures:
    figures = Figures()
    for _ in range(40):
        figures.record("unary", 0.5, [Response(True, "")])
    figures.connections |= {"opened": 2, "closed": 2, "reused": 38}
    return figures


def unmet(figures: Figures, limits: Limits = STRICT, after: dict[str, int] = AFTER) -> list[str]:
    return [finding.name for finding in judge(figures, limits, BEFORE, after) if not finding.met]


def test_a_good_run_meets_everything() -> None:
    findings = judge(good(), STRICT, BEFORE, AFTER)
    assert all(finding.met for finding in findings)
    assert [(finding.name, finding.found, finding.wanted) for finding in findings] == [
        ("responses", "40", "more than none"),
        ("reuse ratio", "0.9500", "at least 0.9000"),
        ("requests per opened connection", "20.0", "at least 10.0"),
        ("failure share", "0.0000", "at most 0.1000"),
        ("p95", "0.495 s", "at most 1.000 s"),
        ("sockets at the end", "0", "0"),
        ("opened: client and fleet", "2 and 2", "equal"),
        ("closed: client and fleet", "2 and 2", "equal"),
        ("reused: client and fleet", "38 and 38", "equal"),
        ("fleet's connections at the end", "0", "0"),
    ]


def test_slow_runs_miss_p95() -> None:
    figures = good()
    for _ in range(3):
        figures.record("unary", 2.0, [Response(True, "")])
    assert unmet(figures) == ["p95"]


def test_failures_miss_their_share() -> None:
    figures = good()
    figures.record("unary", 0.5, [Response(False, "", kind=FailureKind.RESET)] * 5)
    assert unmet(figures) == ["failure share"]


def test_a_new_connection_for_each_request_misses_both_figures_of_reuse() -> None:
    figures = good()
    figures.connections |= {"opened": 40, "closed": 40, "reused": 0}
    assert unmet(figures, after=BEFORE | {"opened": 45, "closed": 45}) == [
        "reuse ratio",
        "requests per opened connection",
    ]


def test_an_open_socket_at_either_end_is_seen() -> None:
    figures = good()
    figures.connections["open"] = 1
    assert unmet(figures) == ["sockets at the end"]
    assert unmet(good(), after=AFTER | {"open_now": 1}) == ["fleet's connections at the end"]


@pytest.mark.parametrize("word", ["opened", "closed", "reused"])
@pytest.mark.parametrize("by", [-1, 1])
def test_a_ledger_that_counts_one_more_or_less_is_seen(word: str, by: int) -> None:
    assert unmet(good(), after=AFTER | {word: AFTER[word] + by}) == [f"{word}: client and fleet"]


def test_what_only_one_end_can_know_is_allowed_and_said() -> None:
    figures = good()
    figures.given_up, figures.cut = 1, 1
    assert unmet(figures, after=AFTER | {"opened": 9, "closed": 9, "reused": 86}) == []
    assert unmet(figures, after=AFTER | {"opened": 10}) == ["opened: client and fleet"]
    said = [finding.wanted for finding in judge(figures, STRICT, BEFORE, AFTER)]
    assert said.count("equal, but for 2 unsure") == 3


def test_websockets_and_their_messages_are_compared_where_there_were_any() -> None:
    none = {"websockets": 0, "messages_in": 0, "messages_out": 0}
    seen = {"websockets": 2, "messages_in": 11, "messages_out": 10}
    figures = good()
    figures.websockets.update({"opened": 2, "answered": 10, "cut": 1})
    findings = judge(figures, STRICT, BEFORE | none, AFTER | seen)
    assert [(finding.name, finding.found, finding.wanted, finding.met) for finding in findings[-3:]] == [
        ("websockets: client and fleet", "2 and 2", "equal", True),
        ("messages sent: client and fleet", "10 and 11", "equal, but for 1 unsure", True),
        ("messages answered: client and fleet", "10 and 10", "equal, but for 1 unsure", True),
    ]
    for word, number in seen.items():
        wrong = judge(figures, STRICT, BEFORE | none, AFTER | seen | {word: number + 2})
        assert [finding.met for finding in wrong].count(False) == 1


def test_a_run_without_a_single_response_is_no_good_run() -> None:
    idle = BEFORE
    assert unmet(Figures(), after=idle) == ["responses", "reuse ratio", "requests per opened connection", "p95"]


def test_what_is_off_is_not_judged_and_a_fleet_that_cannot_be_asked_neither() -> None:
    findings = judge(good(), Limits(failures=None))
    assert [finding.name for finding in findings] == ["responses", "sockets at the end"]


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"p95": -1}, "p95: expected a number of at least 0, got -1"),
        ({"requests_per_connection": -3}, "requests_per_connection: expected a number of at least 0, got -3"),
        ({"p95": float("nan")}, "p95: expected a number of at least 0, got nan"),
        ({"failures": 5}, "failures: expected a share from 0 to 1, got 5"),
        ({"reuse": 1.5}, "reuse: expected a share from 0 to 1, got 1.5"),
    ],
)
def test_limits_that_cannot_be_are_refused(limits: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        Limits(**limits)
