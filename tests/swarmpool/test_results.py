from __future__ import annotations

import pytest
from fake_exchange import an_agent, an_exchange

from swarmpool.errors import PoolClosed, QueueTimeout, TooManyWaiting
from swarmpool.exchange import Outcome, WireFailure
from swarmpool.formats import Reply, ShapeError
from swarmpool.responses import FailureKind, TokenUsage
from swarmpool.results import REFUSALS, judge, refused, result, status_failure, unsent


def read(body: bytes) -> Reply:
    if body == b"odd":
        raise ShapeError("what is odd")
    return Reply(body.decode())


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_answer_that_can_be_read_is_a_success(status: int) -> None:
    assert judge(Outcome(status=status, body=b"hi"), read) == (Reply("hi"), None)


@pytest.mark.parametrize(
    ("finish_reason", "success"), [("stop", True), ("length", True), (None, True), ("abort", False)]
)
def test_an_answer_that_its_server_gave_up_midway_is_no_success(finish_reason: str | None, success: bool) -> None:
    """vLLM ends what is under way so at SIGTERM and when it is put to sleep, at status 200 and in good order."""
    response = result(0, an_exchange(), text="half an", status=200, failure=None, finish_reason=finish_reason)
    assert (response.success, response.kind) == (success, None if success else FailureKind.ABORTED)
    assert (response.text, response.finish_reason) == ("half an", finish_reason)


def test_another_failure_is_told_before_the_abort() -> None:
    cut = WireFailure(FailureKind.CLOSED, "closed")
    response = result(0, an_exchange(), text="", status=200, failure=cut, finish_reason="abort")
    assert response.kind is FailureKind.CLOSED


@pytest.mark.parametrize("status", [199, 300, 304, 400, 404, 429, 500, 503])
def test_any_other_status_is_a_failure_with_the_servers_message(status: int) -> None:
    reply, failure = judge(Outcome(status=status, body=b'{"detail": "no"}'), read)
    assert failure is not None
    assert (reply, failure.kind, failure.message) == (Reply(""), FailureKind.STATUS, f"status {status}: no")


def test_a_2xx_answer_of_another_shape_is_a_failure() -> None:
    reply, failure = judge(Outcome(status=200, body=b"odd"), read)
    assert failure is not None
    assert (reply, failure.kind, failure.message) == (Reply(""), FailureKind.SHAPE, "what is odd")


def test_a_failure_on_the_wire_comes_before_the_status() -> None:
    cut = WireFailure(FailureKind.TRUNCATED, "cut")
    assert judge(Outcome(status=200, body=b"hi", failure=cut), read) == (Reply(""), cut)


def test_a_status_failure_needs_no_reader() -> None:
    assert status_failure(Outcome(status=200)) is None
    failure = status_failure(Outcome(status=503))
    assert failure is not None
    assert failure.message == "status 503: empty body"


def test_a_result_carries_what_the_exchange_knows() -> None:
    usage = TokenUsage(1, 2, 3)
    response = result(
        4,
        an_exchange(),
        text="hi",
        status=200,
        failure=None,
        finish_reason="stop",
        usage=usage,
        first_token_seconds=0.25,
        prompt_index=9,
    )
    assert response.success
    assert (response.text, response.error, response.kind, response.status) == ("hi", None, None, 200)
    assert (response.agent_index, response.tree_index, response.prompt_index) == (4, 7, 9)
    assert response.endpoint is not None
    assert response.endpoint.host == "node7"
    assert (response.queue_seconds, response.wire_seconds, response.first_token_seconds) == (0.5, 1.5, 0.25)
    assert (response.attempts, response.connection, response.finish_reason, response.usage) == (
        1,
        "reused",
        "stop",
        usage,
    )


def test_a_failed_result_keeps_the_text_that_came() -> None:
    failure = WireFailure(FailureKind.INCOMPLETE, "no end")
    response = result(0, an_exchange(), text="half", status=200, failure=failure)
    assert (response.success, response.text, response.kind, response.error) == (
        False,
        "half",
        FailureKind.INCOMPLETE,
        "no end",
    )


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (PoolClosed("shut"), FailureKind.CLOSED),
        (QueueTimeout("late"), FailureKind.QUEUE_TIMEOUT),
        (TooManyWaiting("full"), FailureKind.TOO_MANY_WAITING),
    ],
    ids=["closed", "late", "full"],
)
def test_a_refusal_becomes_the_result_of_a_request_never_sent(refusal: Exception, kind: FailureKind) -> None:
    assert isinstance(refusal, REFUSALS)
    response = refused(an_agent(), 2, refusal, 5)
    assert (response.success, response.kind, response.error) == (False, kind, str(refusal))
    assert (response.agent_index, response.tree_index, response.prompt_index) == (2, 7, 5)
    assert (response.attempts, response.connection, response.status) == (0, None, None)


def test_a_request_never_sent_has_no_attempts() -> None:
    response = unsent(an_agent(), 1, FailureKind.DNS, "no model is known")
    assert (response.attempts, response.wire_seconds, response.kind, response.prompt_index) == (
        0,
        0.0,
        FailureKind.DNS,
        None,
    )
