"""`instrument`: have a pool tell OpenTelemetry of its calls, exchanges and connections."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace

from swarmpool._version import __version__
from swarmpool.options import text
from swarmpool.telemetry.calls import TracedCall
from swarmpool.telemetry.exchanges import TracedExchange
from swarmpool.telemetry.meters import POOL_NAME, meters_of

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from swarmpool.agents import Agent
    from swarmpool.tree import Tree
    from swarmpool.views import View

__all__ = ["Instrumentation", "instrument"]


class Instrumentation:
    """What `instrument` returns: the observer of one tree, until `stop`."""

    def __init__(
        self,
        tree: Tree,
        name: str,
        *,
        servers: bool,
        propagate: bool,
        provider: str,
        meter_provider: MeterProvider,
        tracer_provider: TracerProvider,
    ) -> None:
        self._tree = weakref.ref(tree)
        self._servers = servers
        self.propagate = propagate
        self.attributes = {POOL_NAME: name}
        self.call_attributes = {POOL_NAME: name, "gen_ai.provider.name": provider}
        self.meters = meters_of(meter_provider)
        self.tracer = tracer_provider.get_tracer("swarmpool", __version__)
        self.meters.watch(tree, name)

    def stop(self) -> None:
        """The pool tells no more, and costs nothing more; what is under way still tells of its end. Idempotent."""
        tree = self._tree()
        if tree is not None and tree.observer is self:
            tree.observe(None)
            self.meters.forget(tree)

    def server(self, agent: Agent) -> Mapping[str, str | int]:
        """Attributes that tell which server it is; none unless they were asked for."""
        if not self._servers:
            return {}
        return {"server.address": agent.endpoint.host, "server.port": agent.endpoint.port}

    # ---------------------------------------------------------------------------------------------- an `Observer`

    def call(self, operation: str, model: str | None) -> TracedCall:
        """A call begins."""
        return TracedCall(self, operation, model)

    def exchange(self, *args: Any, **options: Any) -> TracedExchange:
        """An exchange that tells of itself."""
        return TracedExchange(self, *args, **options)

    def connection_lost(self, seconds: float) -> None:
        """A connection is closed."""
        self.meters.connection_duration.record(seconds, self.attributes)


def instrument(
    pool: View,
    name: str | None = None,
    *,
    servers: bool = False,
    propagate: bool = True,
    provider: str = "vllm",
    meter_provider: MeterProvider | None = None,
    tracer_provider: TracerProvider | None = None,
) -> Instrumentation:
    """Have the whole tree of `pool` tell OpenTelemetry what it does, from now on; it need not be open yet.

    `name` (None = the name of its class) tells pools apart as `swarmpool.pool.name`; pools of one name are added up.
    With `servers` each request's metrics and span name its server, `server.address` and `server.port`: one series
    each, so mind how many agents there are. With `propagate` a request carries the headers of OpenTelemetry's
    propagators, `traceparent` by default. `provider` is what `gen_ai.provider.name` says. None for a provider takes
    OpenTelemetry's own, which should have been set before.

    No text of a prompt or an answer, no header and no error message goes into any of it. Raises RuntimeError if the
    tree is instrumented already, and `PoolClosed`.
    """
    tree = pool._tree  # noqa: SLF001 - the inside of one of ours
    tree.check_open()
    if tree.observer is not None:
        raise RuntimeError(f"{tree.name} is instrumented already: stop() that first")
    instrumentation = Instrumentation(
        tree,
        type(pool).__name__ if name is None else text("name", name),
        servers=servers,
        propagate=propagate,
        provider=text("provider", provider),
        meter_provider=metrics.get_meter_provider() if meter_provider is None else meter_provider,
        tracer_provider=trace.get_tracer_provider() if tracer_provider is None else tracer_provider,
    )
    tree.observe(instrumentation)
    return instrumentation
