"""One call of a pool's user: a span, and the `gen_ai.client` metrics."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context, use_span

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from swarmpool.responses import Response, TokenUsage
    from swarmpool.telemetry.instrumenting import Instrumentation

__all__ = ["TracedCall"]


class TracedCall:
    """The `ObservedCall` of `telemetry`."""

    def __init__(self, observer: Instrumentation, operation: str, model: str | None) -> None:
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._over = False
        self._attributes: dict[str, str] = {**observer.call_attributes, "gen_ai.operation.name": operation}
        if model is not None:
            self._attributes["gen_ai.request.model"] = model
        self._span: Span = observer.tracer.start_span(
            operation if model is None else f"{operation} {model}", kind=SpanKind.CLIENT, attributes=self._attributes
        )

    def current(self) -> AbstractContextManager[object]:
        """The scope in which this call's span is the parent."""
        scope: AbstractContextManager[object] = use_span(
            self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )
        return scope

    def ended(self, response: Response) -> None:
        """It has its result."""
        if self._over:
            return
        self._tell(response)
        self._end(None if response.kind is None else response.kind.value)

    def raised(self, error: BaseException) -> None:
        """It was refused, or cancelled."""
        if not self._over:
            self._end(type(error).__name__)

    def _tell(self, response: Response) -> None:
        span = self._span
        span.set_attribute("swarmpool.attempts", response.attempts)
        span.set_attribute("swarmpool.queue_seconds", response.queue_seconds)
        if response.finish_reason is not None:
            span.set_attribute("gen_ai.response.finish_reasons", [response.finish_reason])
        if response.usage is not None:
            self._count(response.usage)
        if response.first_token_seconds is not None:
            self._observer.meters.time_to_first_chunk.record(
                response.first_token_seconds, self._attributes, set_span_in_context(span)
            )

    def _count(self, usage: TokenUsage) -> None:
        for kind, tokens in (("input", usage.prompt_tokens), ("output", usage.completion_tokens)):
            self._span.set_attribute(f"gen_ai.usage.{kind}_tokens", tokens)
            attributes = {**self._attributes, "gen_ai.token.type": kind}
            self._observer.meters.token_usage.record(tokens, attributes, set_span_in_context(self._span))

    def _end(self, error: str | None) -> None:
        self._over = True
        if error is not None:
            self._attributes["error.type"] = error
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        taken = self._loop.time() - self._began
        self._observer.meters.operation_duration.record(taken, self._attributes, set_span_in_context(self._span))
        self._span.end()
