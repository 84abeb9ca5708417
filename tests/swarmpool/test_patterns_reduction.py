"""`Reduction` is a `Response` and more, whatever fields a response has."""

from __future__ import annotations

from swarmpool.endpoints import AgentEndpoint
from swarmpool.patterns.reduction import Reduction, reduction
from swarmpool.responses import FailureKind, Response, TokenUsage

LAST = Response(
    *(
        True,
        "all",
        None,
        3,
        5,
        AgentEndpoint("a"),
        None,
        200,
        2,
        0.1,
        0.2,
        0.3,
        "stop",
        TokenUsage(1, 2, 3),
        "reused",
        7,
    )
)


def test_it_has_every_fact_of_the_last_response() -> None:
    made = reduction(LAST, [], asked=2, covered=2)
    assert isinstance(made, Response)
    assert made == Reduction(
        *(True, "all", None, 3, 5, AgentEndpoint("a"), None, 200, 2, 0.1, 0.2, 0.3, "stop", TokenUsage(1, 2, 3)),
        *("reused", 7, None, (), None, None, (), 2, 2),
    )
    assert made.unwrap() == "all"


def test_it_is_complete_only_if_all_answers_are_in_it() -> None:
    assert reduction(LAST, [], asked=2, covered=2).complete
    assert not reduction(LAST, [], asked=3, covered=2).complete


def test_a_failure_covers_nothing() -> None:
    failed = reduction(Response(False, "", "cut", kind=FailureKind.RESET), [], asked=2, covered=2)
    assert (failed.covered, failed.complete, failed.kind) == (0, False, FailureKind.RESET)
