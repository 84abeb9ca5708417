"""aiohttp: one bare `ClientSession`, as it comes."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from loadtests.bench.peers.ask import TIMEOUT, Failed, body

__all__ = ["Asker"]


class Asker:
    """See `ask.Client`."""

    made_once = False

    async def open(self, urls: Sequence[str]) -> None:
        self._urls = [f"{url}/v1/chat/completions" for url in urls]
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))

    async def ask(self, agent: int, text: str) -> str:
        try:
            async with self._session.post(self._urls[agent], json=body(text)) as response:
                response.raise_for_status()
                answer = await response.json()
                return str(answer["choices"][0]["message"]["content"])
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError) as error:
            raise Failed(repr(error)) from error

    async def close(self) -> None:
        await self._session.close()
