"""`/sleep`, `/wake_up`, `/is_sleeping`: vLLM 0.33 with VLLM_SERVER_DEV_MODE=1 (entrypoints/serve/dev/sleep).

Sleeping aborts the requests under way; those that come are refused until the server is awake.
"""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from fleetsim.api.refusals import bad_parameter
from fleetsim.api.served import Server
from fleetsim.exchange import ApiRequest, Reply, Unary

__all__ = ["is_sleeping", "sleep", "wake_up"]


async def sleep(server: Server, request: ApiRequest) -> Reply:
    """Go to sleep; all levels are alike here."""
    written = parse_qs(request.query).get("level", ["1"])[-1]
    if written not in ("0", "1", "2"):
        raise bad_parameter(f"level: expected 0, 1 or 2, got {written!r}", param="level")
    server.sleep()
    return _json({"status": "sleeping", "level": int(written)})


async def wake_up(server: Server, request: ApiRequest) -> Reply:
    """Wake up, unless a fault keeps it asleep; whatever the tags."""
    server.wake_up()
    return _json({"status": "awake", "tags": parse_qs(request.query).get("tags")})


async def is_sleeping(server: Server, request: ApiRequest) -> Reply:  # noqa: ARG001 (every route takes a request)
    """Say whether it sleeps."""
    return _json({"is_sleeping": server.is_sleeping})


def _json(value: object) -> Unary:
    return Unary(200, msgspec.json.encode(value))
