"""Small clients that send again, leave agents alone and hedge: right ones, and those broken in one way each."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

import aiohttp

from fleetsim.proofs.aiohttp_client import ERRORS, AiohttpPool
from fleetsim.proofs.chat import Answer, message_text
from fleetsim.proofs.client import Endpoint, Options

__all__ = [
    "Breaking",
    "Careful",
    "Deserting",
    "Eager",
    "Hasty",
    "Hedging",
    "Hogging",
    "Littering",
    "Rushing",
    "Secretive",
    "Stubborn",
    "Unforgiving",
]


@dataclass(frozen=True, slots=True)
class Attempted(Answer):
    """An answer that says what its server said of another time."""

    status: int | None = None
    retry_after: float = 0.0


class Careful(AiohttpPool):
    """Sends again what was refused, with no slot held while it pauses. It has no breaker and does not hedge."""

    refusals: ClassVar[Collection[int | None]] = (429, 503)

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        super().__init__(endpoints, options)
        self._slots = asyncio.Semaphore(options.concurrency)
        self._places = count()
        self._size = len(endpoints)

    def connector(self, options: Options) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=options.keepalive_timeout)

    async def request(self, index: int, prompt: str) -> Attempted:
        for attempt in count(1):
            async with self._slots:
                answer = await self.once(index, prompt)
            if answer.ok or answer.status not in self.refusals or attempt >= self.tries:
                return replace(answer, attempts=attempt)
            await asyncio.sleep(self.pause_after(answer))
        raise AssertionError("counting has an end")

    async def ask(self, prompt: str) -> Answer:
        return await self.request(next(self._places) % self._size, prompt)

    @property
    def tries(self) -> int:
        return self._options.tries

    def pause_after(self, refused: Attempted) -> float:
        return max(self._options.retry_pause, refused.retry_after)

    async def once(self, index: int, prompt: str) -> Attempted:
        try:
            async with self._post(index, prompt, stream=False) as response:
                return Attempted(True, message_text(await response.json()))
        except aiohttp.ClientResponseError as error:
            wanted = 0.0 if error.headers is None else float(error.headers.get("retry-after", 0.0))
            return Attempted(False, error=str(error), status=error.status, retry_after=wanted)
        except ERRORS as error:
            return Attempted(False, error=repr(error))


class Eager(Careful):
    """Whatever fails is worth another try."""

    refusals = (429, 500, 503, None)


class Stubborn(Careful):
    """Does not stop when it should."""

    @property
    def tries(self) -> int:
        return 3 * self._options.tries


class Secretive(Careful):
    """Tells nobody that it has tried before."""

    async def request(self, index: int, prompt: str) -> Attempted:
        return replace(await super().request(index, prompt), attempts=1)


class Hasty(Careful):
    """Knows better than Retry-After."""

    def pause_after(self, refused: Attempted) -> float:
        return self._options.retry_pause


class Hogging(Careful):
    """Pauses with its slot in hand."""

    async def once(self, index: int, prompt: str) -> Attempted:
        answer = await super().once(index, prompt)
        if answer.retry_after:
            await asyncio.sleep(answer.retry_after)
        return replace(answer, retry_after=0.0)


@dataclass(slots=True)
class Record:
    """What is known of one endpoint."""

    failed: int = 0
    until: float = 0.0
    probed: bool = False


class Breaking(Careful):
    """Leaves alone who has failed too often, then probes with one request."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        super().__init__(endpoints, options)
        self._records: defaultdict[int, Record] = defaultdict(Record)

    async def request(self, index: int, prompt: str) -> Attempted:
        record, now = self._records[index], asyncio.get_running_loop().time()
        ejected = record.failed >= (self._options.eject_after or 1)
        if ejected and not self.may_probe(record, now):
            return Attempted(False, error="left alone", attempts=0)
        record.probed = ejected
        answer = await super().request(index, prompt)
        record.probed = False
        record.failed = 0 if answer.ok else record.failed + 1
        record.until = asyncio.get_running_loop().time() + self._options.eject_seconds
        return answer

    def may_probe(self, record: Record, now: float) -> bool:
        return now >= record.until and not record.probed


class Unforgiving(Breaking):
    """Once ejected, ejected for good."""

    def may_probe(self, record: Record, now: float) -> bool:
        return False


class Rushing(Breaking):
    """All come at once when the time is over."""

    def may_probe(self, record: Record, now: float) -> bool:
        return now >= record.until


class Hedging(Careful):
    """Asks a second endpoint when the first is slow; whichever loses is cancelled and waited for."""

    async def ask(self, prompt: str) -> Answer:
        tries: set[asyncio.Task[Answer]] = {asyncio.ensure_future(super().ask(prompt))}
        try:
            done, _ = await asyncio.wait(tries, timeout=self._options.hedge_after)
            if not done:
                tries.add(asyncio.ensure_future(super().ask(prompt)))
                done, _ = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.end_deserted(tries)
            raise
        await self.end_beaten(tries - done)
        return done.pop().result()

    async def end_beaten(self, tries: set[asyncio.Task[Answer]]) -> None:
        await self._end(tries)

    async def end_deserted(self, tries: set[asyncio.Task[Answer]]) -> None:
        await self._end(tries)

    async def _end(self, tries: set[asyncio.Task[Answer]]) -> None:
        for task in tries:
            task.cancel()
        await asyncio.gather(*tries, return_exceptions=True)


class Leaving(Hedging):
    """Keeps what it ought to end until it is closed."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        super().__init__(endpoints, options)
        self._left: set[asyncio.Task[Answer]] = set()

    async def close(self) -> None:
        await self._end(self._left)
        await super().close()


class Littering(Leaving):
    """The loser of a race is left running."""

    async def end_beaten(self, tries: set[asyncio.Task[Answer]]) -> None:
        self._left |= tries


class Deserting(Leaving):
    """Whoever cancels the caller does not cancel what it has started."""

    async def end_deserted(self, tries: set[asyncio.Task[Answer]]) -> None:
        self._left |= tries
