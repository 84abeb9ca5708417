"""OpenTelemetry's metrics and spans of a pool, by their standard names. It needs the extra `otel`.

    from swarmpool.telemetry import instrument

    instrument(pool)

The names are those of OpenTelemetry's semantic conventions for HTTP clients
(https://opentelemetry.io/docs/specs/semconv/http/) and for generative AI
(https://github.com/open-telemetry/semantic-conventions-genai); what has none there begins with `swarmpool.`.
docs/telemetry.md lists them. A pool that is not instrumented pays nothing for this, not even the import.
"""

from importlib.util import find_spec

if find_spec("opentelemetry") is None:
    raise ImportError("swarmpool.telemetry needs opentelemetry-api: pip install 'swarmpool[otel]'")

from swarmpool.telemetry.instrumenting import Instrumentation, instrument

__all__ = ["Instrumentation", "instrument"]
