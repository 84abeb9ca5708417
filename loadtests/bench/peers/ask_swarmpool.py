"""swarmpool: one `VLLMPool` over all agents, as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from loadtests.bench.peers.ask import MODEL, TIMEOUT, TOKENS, Failed
from swarmpool import VLLMPool

__all__ = ["Asker"]


class Asker:
    """See `ask.Client`."""

    made_once = False

    async def open(self, urls: Sequence[str]) -> None:
        agents = [(url.hostname or "", url.port or 0) for url in map(urlsplit, urls)]
        self._pool = VLLMPool(agents, model=MODEL, timeout=TIMEOUT)
        await self._pool.__aenter__()

    async def ask(self, agent: int, text: str) -> str:
        answer = await self._pool.post(agent, text, TOKENS)
        if not answer.success:
            raise Failed(str(answer.error))
        return answer.text

    async def close(self) -> None:
        await self._pool.close()
