"""From how an exchange went to its one `Response`. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from swarmpool.errors import AgentUnavailable, PoolClosed, QueueTimeout, TooManyWaiting
from swarmpool.exchange import WireFailure
from swarmpool.failures import message_of
from swarmpool.formats import Reply, ShapeError
from swarmpool.responses import FailureKind, Response, TokenUsage

if TYPE_CHECKING:
    from swarmpool.agents import Agent
    from swarmpool.exchange import Exchange, Outcome

__all__ = ["REFUSALS", "judge", "refused", "result", "status_failure", "unsent"]

_KIND_OF_REFUSAL: dict[type[Exception], FailureKind] = {
    PoolClosed: FailureKind.CLOSED,
    QueueTimeout: FailureKind.QUEUE_TIMEOUT,
    TooManyWaiting: FailureKind.TOO_MANY_WAITING,
    AgentUnavailable: FailureKind.UNAVAILABLE,
}

# What vLLM says of an answer that it ends before its end: at SIGTERM, and when it is put to sleep
# (vllm/v1/engine/__init__.py, FinishReason).
_ABORT = "abort"

REFUSALS = tuple(_KIND_OF_REFUSAL)
"""What a single call raises for want of room, and a call with many prompts turns into a result."""


def judge(outcome: Outcome, read: Callable[[bytes], Reply]) -> tuple[Reply, WireFailure | None]:
    """The reply in an outcome, and what is wrong with it: only a 2xx answer that `read` understands is a success."""
    failure = outcome.failure or status_failure(outcome)
    if failure is None:
        try:
            return read(outcome.body), None
        except ShapeError as error:
            failure = WireFailure(FailureKind.SHAPE, str(error))
    return Reply(""), failure


def status_failure(outcome: Outcome) -> WireFailure | None:
    """The failure in a whole answer whose status is not 2xx."""
    assert outcome.status is not None
    if outcome.status // 100 == 2:
        return None
    return WireFailure(FailureKind.STATUS, f"status {outcome.status}: {message_of(outcome.body)}")


def result(
    agent_index: int,
    exchange: Exchange,
    *,
    text: str,
    status: int | None,
    failure: WireFailure | None,
    finish_reason: str | None = None,
    usage: TokenUsage | None = None,
    first_token_seconds: float | None = None,
    prompt_index: int | None = None,
    retry_after: float | None = None,
) -> Response:
    """The result of an exchange that is over."""
    if failure is None and finish_reason == _ABORT:
        failure = WireFailure(
            FailureKind.ABORTED, f'{exchange.agent} gave the answer up midway (finish_reason "abort")'
        )
    agent = exchange.agent
    # By position, as this is made for every answer; the names are those of the fields in their order.
    return Response(
        failure is None,
        text,
        failure.message if failure else None,
        agent_index,
        agent.tree_index,
        agent.endpoint,
        failure.kind if failure else None,
        status,
        exchange.attempts,
        exchange.queue_seconds,
        exchange.wire_seconds,
        first_token_seconds,
        finish_reason,
        usage,
        exchange.connection,
        prompt_index,
        retry_after,
    )


def refused(agent: Agent, agent_index: int, refusal: Exception, prompt_index: int | None = None) -> Response:
    """The result of a request that was refused a slot."""
    return unsent(agent, agent_index, _KIND_OF_REFUSAL[type(refusal)], str(refusal), prompt_index)


def unsent(agent: Agent, agent_index: int, kind: FailureKind, error: str, prompt_index: int | None = None) -> Response:
    """The result of a request that was never sent."""
    return Response(
        success=False,
        text="",
        error=error,
        agent_index=agent_index,
        tree_index=agent.tree_index,
        endpoint=agent.endpoint,
        kind=kind,
        prompt_index=prompt_index,
    )
