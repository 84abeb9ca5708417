"""The baseline: one bare `aiohttp.ClientSession`, used as its documentation shows.

This is an honest best effort, not a straw man: one session, limits and keep-alive set, bodies read, streams ended at
`[DONE]`. `concurrency` becomes the connector's `limit` and the cap per agent its `limit_per_host`, for aiohttp has no
other; sub-clients and exact counts it does not have. Opened and reused connections are counted with a `TraceConfig`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from fleetsim.proofs.chat import Answer, Tally, event_text, message_text, payload
from fleetsim.proofs.client import Endpoint, Options, Pool

__all__ = ["AiohttpClient", "AiohttpPool", "client"]

# What a session raises for what happens on the wire, and what reading an answer as a chat completion does.
ERRORS = (aiohttp.ClientError, TimeoutError, ValueError)


class AiohttpPool:
    """A session over `endpoints`. For one event loop; calls run concurrently."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        self._urls = [f"http://{endpoint.host}:{endpoint.port}/v1/chat/completions" for endpoint in endpoints]
        self._options = options
        self._opened = self._reused = 0
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the session."""
        options = self._options
        self._session = aiohttp.ClientSession(
            connector=self.connector(options),
            timeout=aiohttp.ClientTimeout(total=options.timeout, sock_connect=options.connect_timeout),
            trace_configs=[self._trace()],
        )

    def connector(self, options: Options) -> aiohttp.TCPConnector:
        """The connector of the session; `limit` bounds whichever of the two limits is lower."""
        return aiohttp.TCPConnector(
            limit=min(options.concurrency, options.connector_limit),
            limit_per_host=options.concurrency_per_agent or 0,
            keepalive_timeout=options.keepalive_timeout,
            resolver=aiohttp.ThreadedResolver(),
        )

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def request(self, index: int, prompt: str) -> Answer:
        """POST and read the answer; errors of the wire are an `Answer`, a closed session raises RuntimeError."""
        try:
            async with self._post(index, prompt, stream=False) as response:
                return Answer(True, message_text(await response.json()))
        except ERRORS as error:
            return Answer(False, error=f"{type(error).__name__}: {error}")

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> Answer:
        """POST and read events up to `[DONE]`, or leave after so many chunks of text."""
        chunks: list[str] = []
        try:
            async with self._post(index, prompt, stream=True) as response:
                async for text in texts(response.content):
                    chunks.append(text)
                    if len(chunks) == leave_after:
                        break
        except ERRORS as error:
            return Answer(False, "".join(chunks), f"{type(error).__name__}: {error}")
        return Answer(True, "".join(chunks))

    def view(self, kind: str, *arguments: object) -> Pool:
        """There is none: `features` does not say "views"."""
        raise NotImplementedError(f"a bare session has no sub-clients: {kind}{arguments}")

    def counts(self) -> Tally:
        """Opened and reused; nothing else is counted in public."""
        return Tally(opened=self._opened, reused=self._reused)

    @asynccontextmanager
    async def _post(self, index: int, prompt: str, *, stream: bool) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("the session was never opened")
        body = payload(self._options, prompt, stream=stream)
        async with self._session.post(self._urls[index], json=body) as response:
            response.raise_for_status()
            yield response

    def _trace(self) -> aiohttp.TraceConfig:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(self._count_opened)
        trace.on_connection_reuseconn.append(self._count_reused)
        return trace

    async def _count_opened(self, *_: Any) -> None:
        self._opened += 1

    async def _count_reused(self, *_: Any) -> None:
        self._reused += 1


async def texts(content: aiohttp.StreamReader) -> AsyncIterator[str]:
    """The pieces of text in a stream of chat completion events, up to `[DONE]` or the end."""
    async for line in content:
        text = event_text(line.decode())
        if text is None:
            return
        if text:
            yield text


class AiohttpClient:
    """The adapter, registered as `aiohttp`."""

    name = "aiohttp"
    features: frozenset[str] = frozenset()
    version = f"aiohttp {aiohttp.__version__}"

    def build(self, endpoints: Sequence[Endpoint], options: Options) -> AiohttpPool:
        """A pool whose session opens with `open`."""
        return AiohttpPool(endpoints, options)


client = AiohttpClient()
