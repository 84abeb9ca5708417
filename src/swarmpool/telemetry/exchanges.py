"""One request on the wire: a span, and the `http.client.request` metrics.

A `TracedExchange` is told nothing by its users: it sees what it is asked to send, the head of the answer, how it
explains an error, and whether the whole body had come when it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, get_current
from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from swarmpool.exchange import Exchange, WireFailure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from aiohttp import ClientResponse
    from opentelemetry.trace import Span

    from swarmpool.telemetry.instrumenting import Instrumentation

__all__ = ["TracedExchange"]


class TracedExchange(Exchange):
    """An `Exchange` whose span is a child of the one that is current as its slot is granted."""

    __slots__ = ("_attributes", "_context", "_error", "_observer", "_span")

    def __init__(self, observer: Instrumentation, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._observer = observer
        self._context: Context = get_current()
        self._span: Span | None = None
        self._error: str | None = None
        self._attributes: dict[str, str | int] = {**observer.attributes, **observer.server(self.agent)}
        observer.meters.time_in_queue.record(self.queue_seconds, self._attributes, self._context)

    def explain(self, error: BaseException, *, idle: bool = False) -> WireFailure:
        """As `Exchange` does."""
        failure = super().explain(error, idle=idle)
        self._error = failure.kind.value
        return failure

    def end(self) -> None:
        """As `Exchange` does."""
        if self.over:
            return
        whole = self.response is not None and self.response.content.is_eof()
        super().end()
        if self._span is not None:
            self._tell(self._span, whole=whole)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> Awaitable[ClientResponse]:
        self._attributes |= {"http.request.method": method, "url.template": path}
        self._span = self._observer.tracer.start_span(
            f"{method} {path}",
            self._context,
            kind=SpanKind.CLIENT,
            attributes={
                **self._attributes,
                "swarmpool.agent.index": self.agent.tree_index,
                "swarmpool.queue_seconds": self.queue_seconds,
            },
        )
        self._context = set_span_in_context(self._span, self._context)
        if self._observer.propagate:
            headers = dict(headers or {})
            inject(headers, self._context)
        return self._answered(super()._ask(method, path, body, headers))

    async def _answered(self, answer: Awaitable[ClientResponse]) -> ClientResponse:
        response = await answer
        self._attributes["http.response.status_code"] = response.status
        if response.status >= 400:
            self._error = str(response.status)
        return response

    def _tell(self, span: Span, *, whole: bool) -> None:
        error = self._error or (None if whole else "cancelled")
        status = self._attributes.get("http.response.status_code")
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if self.connection is not None:
            span.set_attribute("swarmpool.connection", self.connection)
        if error is not None:
            self._attributes["error.type"] = error
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        self._observer.meters.request_duration.record(self.wire_seconds, self._attributes, self._context)
        span.end()
