"""`/health`, `/ping`, `/version`, `/load`, as in vLLM 0.33: entrypoints/serve/instrumentator and .../sagemaker."""

from __future__ import annotations

from fleetsim.api.served import VLLM_VERSION, Server
from fleetsim.engine import Halt
from fleetsim.exchange import ApiRequest, Reply, Unary

__all__ = ["health", "load", "version"]

_HEALTHY = Unary(200, b"", content_type=None)
_UNWELL = Unary(503, b"", content_type=None)
_VERSION = Unary(200, b'{"version":"%b"}' % VLLM_VERSION.encode())


async def health(server: Server, request: ApiRequest) -> Reply:  # noqa: ARG001 (every route takes a request)
    """Answer 200 with an empty body, whatever the load; 503 when the engine is dead."""
    return _UNWELL if server.halt is Halt.DEAD else _HEALTHY


async def version(server: Server, request: ApiRequest) -> Reply:  # noqa: ARG001 (every route takes a request)
    """Answer with the version of vLLM that this server passes for."""
    return _VERSION


async def load(server: Server, request: ApiRequest) -> Reply:  # noqa: ARG001 (every route takes a request)
    """Answer with the requests under way, this one not counted; 0 unless the profile tracks the load, as in vLLM."""
    running = server.in_flight() - 1 if server.served.profile.server_load_tracking else 0
    return Unary(200, b'{"server_load":%d}' % max(0, running))
