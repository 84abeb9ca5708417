"""openai: one `AsyncOpenAI` for each agent, as whoever has many servers writes it; each has an HTTP client of its own.

Making one takes about 20 ms, most of it for TLS that nobody uses here. So they are made once for a number of agents,
and `with_options(base_url=...)` moves them from server to server: the copies share the HTTP clients. Its own repetition
of failed requests is off, for a failure is to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import openai

from loadtests.bench.peers.ask import MODEL, TIMEOUT, TOKENS, Failed

__all__ = ["Asker"]


class Asker:
    """See `ask.Client`."""

    made_once = True

    def __init__(self) -> None:
        self._made: list[openai.AsyncOpenAI] = []

    async def open(self, urls: Sequence[str]) -> None:
        if not self._made:
            self._made = [_client(url) for url in urls]
        self._clients = [
            client.with_options(base_url=f"{url}/v1") for client, url in zip(self._made, urls, strict=True)
        ]

    async def ask(self, agent: int, text: str) -> str:
        try:
            answer = await self._clients[agent].chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": text}], max_tokens=TOKENS
            )
            return answer.choices[0].message.content or ""
        except (openai.OpenAIError, ValueError, LookupError) as error:
            raise Failed(repr(error)) from error

    async def close(self) -> None:
        """Nothing: what was made is for the next server too, and ends with the process."""


def _client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1", timeout=TIMEOUT, max_retries=0)
