"""What an instrumented pool has told OpenTelemetry, for tests; they are skipped where its SDK is not installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk, of the dependency group `test`")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from swarmpool.telemetry import Instrumentation, instrument
from swarmpool.views import View

__all__ = ["StatusCode", "Told"]


class _Count(SpanProcessor):
    """Spans that have begun and not ended."""

    def __init__(self) -> None:
        self.now = 0

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.now += 1

    def on_end(self, span: Any) -> None:
        self.now -= 1


class Told:
    """Providers of one test, and what they have heard."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._spans = InMemorySpanExporter()
        self.meter_provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._count = _Count()
        self.tracer_provider.add_span_processor(self._count)

    @property
    def under_way(self) -> int:
        """Spans that have not ended."""
        return self._count.now

    def instrument(self, pool: View, name: str | None = None, **options: Any) -> Instrumentation:
        """The pool, instrumented with these providers."""
        return instrument(
            pool, name, meter_provider=self.meter_provider, tracer_provider=self.tracer_provider, **options
        )

    def spans(self) -> list[Any]:
        """Those that have ended, in that order. Nearly all of a `ReadableSpan` may be None for its types: hence Any."""
        return list(self._spans.get_finished_spans())

    def metrics(self) -> dict[str, list[Any]]:
        """The data points of each metric, collected now."""
        return dict(self._points())

    def value(self, metric: str, **wanted: object) -> float:
        """The sum of the points of `metric` whose attributes, with dots as underscores, are `wanted`; counts, of a
        histogram."""
        points = [
            point
            for point in self.metrics().get(metric, [])
            if wanted.items() <= _underscored(point.attributes).items()
        ]
        values: list[float] = [point.value if hasattr(point, "value") else point.count for point in points]
        return sum(values)

    def everything(self) -> str:
        """All that was told, as text."""
        return "".join(span.to_json() for span in self.spans()) + repr(self.metrics())

    def _points(self) -> Iterator[tuple[str, list[Any]]]:
        data = self._reader.get_metrics_data()
        for resource in [] if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    yield metric.name, list(metric.data.data_points)


def _underscored(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name.replace(".", "_"): value for name, value in (attributes or {}).items()}
