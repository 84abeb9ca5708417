"""openai's `AsyncOpenAI` as its README shows it, over either of its transports: the default one, or aiohttp's.

One HTTP client with limits and timeouts is shared by one `AsyncOpenAI` for each endpoint. `concurrency` becomes
`max_connections`, for it has no other bound; its timeouts are for single reads and writes. `tries` becomes
`max_retries`, which is one less, and so 0 for most claims, which are about one request; how long it pauses is its own
choice. It counts no connections in public.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI

from fleetsim.proofs.chat import Answer, Tally
from fleetsim.proofs.client import Endpoint, Options, Pool

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

__all__ = ["OpenAIClient", "OpenAIPool", "client", "client_over_aiohttp"]

Transport = Callable[..., httpx2.AsyncClient]

# What the client raises for what happens on the wire; JSON that cannot be read is raised as it is.
ERRORS = (openai.OpenAIError, ValueError)
_RETRIES = "x-stainless-retry-count"


class OpenAIPool:
    """Clients for `endpoints` over one HTTP client that `transport` makes. For one loop; calls run concurrently."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options, transport: Transport) -> None:
        self._endpoints, self._options, self._transport = endpoints, options, transport
        self._http: httpx2.AsyncClient | None = None
        self._clients: list[AsyncOpenAI] = []

    async def open(self) -> None:
        """Make the clients."""
        options = self._options
        limits = httpx2.Limits(
            max_connections=min(options.concurrency, options.connector_limit),
            keepalive_expiry=options.keepalive_timeout,
        )
        # Waiting for a connection has no limit of its own; a context without certificates is made in no time.
        timeout = httpx2.Timeout(options.timeout, connect=options.connect_timeout, pool=None)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http = self._transport(limits=limits, timeout=timeout, verify=tls, trust_env=False)
        self._clients = [self._client(endpoint, timeout) for endpoint in self._endpoints]

    def _client(self, endpoint: Endpoint, timeout: httpx2.Timeout) -> AsyncOpenAI:
        url = f"http://{endpoint.host}:{endpoint.port}/v1"
        retries = self._options.tries - 1
        return AsyncOpenAI(api_key="none", base_url=url, http_client=self._http, timeout=timeout, max_retries=retries)

    async def close(self) -> None:
        """Close the HTTP client, and so all of them."""
        if self._http is not None:
            await self._http.aclose()

    async def request(self, index: int, prompt: str) -> Answer:
        """Ask and read the answer; errors of the wire are an `Answer`, a closed client raises what it raises."""
        try:
            raw = await self._clients[index].chat.completions.with_raw_response.create(**self._asked(prompt))
            return _answer(raw.parse(), raw.retries_taken + 1)
        except ERRORS as error:
            return Answer(False, error=_told(error), attempts=_attempts(error))

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> Answer:
        """Ask and read chunks to the end of the stream, or leave after so many chunks of text."""
        chunks: list[str] = []
        try:
            stream = await self._clients[index].chat.completions.create(**self._asked(prompt), stream=True)
            async with stream:
                async for chunk in stream:
                    text = _text(chunk)
                    chunks += [text] if text else []
                    if len(chunks) == leave_after:
                        break
        except ERRORS as error:
            return Answer(False, "".join(chunks), _told(error))
        return Answer(True, "".join(chunks))

    def view(self, kind: str, *arguments: object) -> Pool:
        """There is none: `features` does not say "views"."""
        raise NotImplementedError(f"openai has no sub-clients: {kind}{arguments}")

    def counts(self) -> Tally:
        """Nothing is counted in public."""
        return Tally()

    def _asked(self, prompt: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        return {"model": self._options.model, "messages": messages, "max_tokens": self._options.max_tokens}


def _answer(completion: ChatCompletion, attempts: int) -> Answer:
    # What is not there in the JSON is not there in the object either, whatever its type says.
    choices = getattr(completion, "choices", None)
    if not choices:
        return Answer(False, error=f"no chat completion: {completion!r:.80}", attempts=attempts)
    return Answer(True, choices[0].message.content or "", attempts=attempts)


def _attempts(error: Exception) -> int:
    # The client tells its servers how often it has tried before, in a header (openai/_base_client.py), and no one else.
    return int(error.request.headers.get(_RETRIES, 0)) + 1 if isinstance(error, openai.APIError) else 1


def _text(chunk: ChatCompletionChunk) -> str:
    return "".join(choice.delta.content or "" for choice in chunk.choices)


def _told(error: Exception) -> str:
    cause = "" if error.__cause__ is None else f" ({error.__cause__!r})"
    return f"{type(error).__name__}: {error}{cause}"


class OpenAIClient:
    """The adapter, registered as `openai` and, over aiohttp's transport, as `openai-aiohttp`."""

    features = frozenset({"retries"})

    def __init__(self, name: str, transport: Transport, over: str) -> None:
        self.name = name
        self.version = f"openai {openai.__version__} over {over}"
        self._transport = transport

    def build(self, endpoints: Sequence[Endpoint], options: Options) -> OpenAIPool:
        """A pool whose clients are made by `open`."""
        return OpenAIPool(endpoints, options, self._transport)


client = OpenAIClient("openai", openai.DefaultAsyncHttpxClient, f"httpx2 {httpx2.__version__}")
client_over_aiohttp = OpenAIClient("openai-aiohttp", openai.DefaultAioHttpClient, f"aiohttp {aiohttp.__version__}")
