"""httpx as its documentation shows it: one `AsyncClient`, limits and timeouts set, bodies and streams read to
their end.

`concurrency` becomes `max_connections`, for httpx has no other bound. Its timeouts are for single reads and writes; a
total one, and a cap per endpoint, it does not have. Opened connections are counted by its `trace` extension.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from fleetsim.proofs.chat import Answer, Tally, event_text, message_text, payload
from fleetsim.proofs.client import Endpoint, Options, Pool

__all__ = ["HttpxClient", "HttpxPool", "client"]

# What a client raises for what happens on the wire, and what reading an answer as a chat completion does.
ERRORS = (httpx.HTTPError, ValueError)


class HttpxPool:
    """A client over `endpoints`. For one event loop; calls run concurrently."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        self._urls = [f"http://{endpoint.host}:{endpoint.port}/v1/chat/completions" for endpoint in endpoints]
        self._options = options
        self._opened = 0
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Make the client."""
        options = self._options
        limits = httpx.Limits(
            max_connections=min(options.concurrency, options.connector_limit),
            keepalive_expiry=options.keepalive_timeout,
        )
        # Waiting for a connection has no limit of its own; a context without certificates is made in no time.
        timeout = httpx.Timeout(options.timeout, connect=options.connect_timeout, pool=None)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client = httpx.AsyncClient(limits=limits, timeout=timeout, verify=tls, trust_env=False)

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.aclose()

    async def request(self, index: int, prompt: str) -> Answer:
        """POST and read the answer; errors of the wire are an `Answer`, a closed client raises RuntimeError."""
        try:
            async with self._post(index, prompt, stream=False) as response:
                await response.aread()
                return Answer(True, message_text(response.json()))
        except ERRORS as error:
            return Answer(False, error=f"{type(error).__name__}: {error}")

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> Answer:
        """POST and read all events, or leave after so many chunks of text."""
        chunks: list[str] = []
        try:
            async with self._post(index, prompt, stream=True) as response:
                async for line in response.aiter_lines():
                    text = event_text(line)
                    chunks += [text] if text else []
                    if len(chunks) == leave_after:
                        break
        except ERRORS as error:
            return Answer(False, "".join(chunks), f"{type(error).__name__}: {error}")
        return Answer(True, "".join(chunks))

    def view(self, kind: str, *arguments: object) -> Pool:
        """There is none: `features` does not say "views"."""
        raise NotImplementedError(f"httpx has no sub-clients: {kind}{arguments}")

    def counts(self) -> Tally:
        """Opened; nothing else is counted in public."""
        return Tally(opened=self._opened)

    @asynccontextmanager
    async def _post(self, index: int, prompt: str, *, stream: bool) -> AsyncIterator[httpx.Response]:
        if self._client is None:
            raise RuntimeError("the client was never opened")
        body = payload(self._options, prompt, stream=stream)
        traced = {"trace": self._trace}
        async with self._client.stream("POST", self._urls[index], json=body, extensions=traced) as response:
            response.raise_for_status()
            yield response

    async def _trace(self, event: str, _: dict[str, Any]) -> None:
        self._opened += event == "connection.connect_tcp.complete"


class HttpxClient:
    """The adapter, registered as `httpx`."""

    name = "httpx"
    features: frozenset[str] = frozenset()
    version = f"httpx {httpx.__version__}"

    def build(self, endpoints: Sequence[Endpoint], options: Options) -> HttpxPool:
        """A pool whose client is made by `open`."""
        return HttpxPool(endpoints, options)


client = HttpxClient()
