"""The one module of the laboratory that reads aiohttp's private attributes.

aiohttp has no public count of its pool. What is read here has existed under these names from aiohttp 3.9 to 3.14 and
on its main branch; nothing is written. Where a name has gone, or holds something else, the figure is a `NotReadable`
which says so, and the experiment goes on with what the fleet saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

__all__ = ["Figure", "NotReadable", "ReadableConnector"]


@dataclass(frozen=True, slots=True)
class NotReadable:
    """Stands where a figure should be: aiohttp no longer keeps it under `attribute`. Equal to no number."""

    attribute: str

    def __str__(self) -> str:
        return f"not readable on aiohttp {aiohttp.__version__}"


Figure = int | NotReadable


class ReadableConnector(TCPConnector):
    """A `TCPConnector` that behaves as any other and whose private counts can be asked for. No method raises for what
    aiohttp does not have."""

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """As aiohttp's, noting the request's key first: nothing public tells it once a response is released."""
        key = getattr(req, "connection_key", None)
        if key is not None:
            self._keys()[_place(req.url)] = key
        return await super().connect(req, traces, timeout)

    def _keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = self.__dict__.setdefault("_lab_keys", {})
        return keys

    def available(self, url: str) -> Figure:
        """Connections that could still be acquired for the host and port of `url`, by aiohttp's own reckoning.

        A request must have gone there before: only a request has the key under which aiohttp counts.
        """
        available = getattr(self, "_available_connections", None)
        key = self._keys().get(_place(URL(url)))
        if key is None or not callable(available):
            return NotReadable("_available_connections")
        reckon: Callable[[object], object] = available
        return _figure("_available_connections", lambda: reckon(key))

    def acquired(self) -> Figure:
        """Connections in use, the attempts to connect included."""
        return self._size("_acquired")

    def acquired_keys(self) -> Figure:
        """Hosts with at least one connection in use. aiohttp keeps it only where `limit_per_host` is set."""
        return self._size("_acquired_per_host")

    def idle(self) -> Figure:
        """Connections kept for reuse and still connected."""
        pooled = getattr(self, "_conns", None)
        if not isinstance(pooled, Mapping):
            return NotReadable("_conns")
        return _figure("_conns", lambda: sum(entry[0].is_connected() for kept in pooled.values() for entry in kept))

    def waiting(self) -> Figure:
        """Requests in aiohttp's own queue."""
        waiters = getattr(self, "_waiters", None)
        if not isinstance(waiters, Mapping):
            return NotReadable("_waiters")
        return _figure("_waiters", lambda: sum(len(queue) for queue in waiters.values()))

    def _size(self, attribute: str) -> Figure:
        held = getattr(self, attribute, None)
        return len(held) if isinstance(held, Sized) else NotReadable(attribute)


def _place(url: URL) -> str:
    return f"{url.raw_host}:{url.port}"


def _figure(attribute: str, read: Callable[[], object]) -> Figure:
    """What `read` returns, if the attribute still has the shape that `read` expects."""
    try:
        value = read()
    except (AttributeError, IndexError, TypeError):
        return NotReadable(attribute)
    return value if isinstance(value, int) else NotReadable(attribute)
