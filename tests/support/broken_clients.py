"""One deliberately broken client, or more, for each claim: a scenario that such a client passes proves nothing.

Most are the baseline with one thing done wrong, the way it is done wrong in the wild.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import broken_care
import broken_websockets

from fleetsim.proofs.aiohttp_client import AiohttpPool
from fleetsim.proofs.aiohttp_client import client as bare_aiohttp
from fleetsim.proofs.chat import Answer, Tally
from fleetsim.proofs.client import Client, Endpoint, Options, Pool

__all__ = ["BROKEN", "HONEST", "Broken"]


@dataclass(frozen=True, slots=True)
class BrokenClient:
    """An adapter for a broken pool."""

    name: str
    make: Callable[[Sequence[Endpoint], Options], Pool]
    features: frozenset[str] = frozenset()

    def build(self, endpoints: Sequence[Endpoint], options: Options) -> Pool:
        return self.make(endpoints, options)


class OneShot(AiohttpPool):
    """A new connection for each request."""

    def connector(self, options: Options) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(force_close=True, limit=options.concurrency)


class Unbounded(AiohttpPool):
    """Takes every limit for a suggestion."""

    def connector(self, options: Options) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, resolver=aiohttp.ThreadedResolver())


class Timid(AiohttpPool):
    """Off by one: one slot is never used."""

    def connector(self, options: Options) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=options.concurrency - 1)


class Patient(AiohttpPool):
    """Keeps idle connections for aiohttp's 15 s, longer than the server does."""

    def connector(self, options: Options) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(keepalive_timeout=15, limit=options.concurrency)


class OwnSessions(AiohttpPool):
    """A sub-client opens a session of its own, at its first request."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        super().__init__(endpoints, options)
        self._endpoints, self._children = endpoints, list[AiohttpPool]()

    async def request(self, index: int, prompt: str) -> Answer:
        if self._session is None:
            await self.open()
        return await super().request(index, prompt)

    def view(self, kind: str, *arguments: Any) -> Pool:
        child = type(self)(chosen(self._endpoints, kind, *arguments), self._options)
        self._children.append(child)
        return child

    async def open(self) -> None:
        if self._session is None:
            await super().open()

    async def close(self) -> None:
        for child in self._children:
            await child.close()
        await super().close()


class ClosingViews(OwnSessions):
    """Views share the session, and closing one closes it for all."""

    def view(self, kind: str, *arguments: Any) -> Pool:
        child = super().view(kind, *arguments)
        assert isinstance(child, ClosingViews)
        child._session = self._session
        return child


def chosen(endpoints: Sequence[Endpoint], kind: str, *arguments: Any) -> list[Endpoint]:
    """The endpoints of a sub-client of `kind`."""
    if kind == "by_tag":
        key, value = arguments
        return [endpoint for endpoint in endpoints if endpoint.tags.get(key) == value]
    if kind == "select":
        return [endpoints[index] for index in arguments[0]]
    start, stop = arguments if kind == "slice" else (0, arguments[0])
    return list(endpoints[start:stop])


class Forgetful(AiohttpPool):
    """Lets go of the session instead of closing it."""

    async def close(self) -> None:
        self._session = None


class Reopening(AiohttpPool):
    """A closed session is taken for a missing one, and made anew."""

    async def request(self, index: int, prompt: str) -> Answer:
        if self._session is None or self._session.closed:
            await self.open()
        return await super().request(index, prompt)


class Trusting(AiohttpPool):
    """Whatever text came is an answer."""

    async def request(self, index: int, prompt: str) -> Answer:
        return self._trust(await super().request(index, prompt))

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> Answer:
        return self._trust(await super().stream(index, prompt, leave_after=leave_after))

    @staticmethod
    def _trust(answer: Answer) -> Answer:
        return Answer(True, answer.text)


class Raising(AiohttpPool):
    """Whatever goes wrong is raised at the caller."""

    async def request(self, index: int, prompt: str) -> Answer:
        return self._raise(await super().request(index, prompt))

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> Answer:
        return self._raise(await super().stream(index, prompt, leave_after=leave_after))

    @staticmethod
    def _raise(answer: Answer) -> Answer:
        if not answer.ok:
            raise LookupError(answer.error)
        return answer


@dataclass(frozen=True, slots=True)
class Named(Answer):
    """An answer that says what kind of failure it is."""

    kind: str = "timeout"


class Misnaming(AiohttpPool):
    """Every failure is called a timeout."""

    async def request(self, index: int, prompt: str) -> Answer:
        answer = await super().request(index, prompt)
        return Named(answer.ok, answer.text, answer.error)


class LeakySlots(AiohttpPool):
    """Gives a slot back only after success."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        super().__init__(endpoints, options)
        self._slots = asyncio.Semaphore(options.concurrency)

    def connector(self, options: Options) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0)

    async def request(self, index: int, prompt: str) -> Answer:
        return await self._in_slot(super().request(index, prompt))

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> Answer:
        return await self._in_slot(super().stream(index, prompt, leave_after=leave_after))

    async def _in_slot(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            work.close()
            raise
        answer = await work
        if answer.ok:
            self._slots.release()
        return answer


class Shielded(AiohttpPool):
    """A cancelled caller goes, the request stays."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        super().__init__(endpoints, options)
        self._running: set[asyncio.Task[Answer]] = set()

    async def request(self, index: int, prompt: str) -> Answer:
        task = asyncio.create_task(super().request(index, prompt))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await super().close()


class LastComeFirstServed(AiohttpPool):
    """A stack where a queue should be."""

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        super().__init__(endpoints, options)
        self._free = options.concurrency
        self._waiters: list[asyncio.Future[None]] = []

    async def request(self, index: int, prompt: str) -> Answer:
        while not self._free:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                self._wake()
                raise
        self._free -= 1
        try:
            return await super().request(index, prompt)
        finally:
            self._free += 1
            self._wake()

    def _wake(self) -> None:
        while self._free and self._waiters:
            waiter = self._waiters.pop()
            if not waiter.done():
                waiter.set_result(None)
                return


class Miscounting(AiohttpPool):
    """Counts what it opens and believes that nothing ever closes."""

    def counts(self) -> Tally:
        tally = super().counts()
        return Tally(opened=tally.opened, closed=0, reused=tally.reused, open=tally.opened)


class Undrained:
    """A hand-made client that reuses a connection whether or not the body on it has been read."""

    limit = 0.1

    def __init__(self, endpoints: Sequence[Endpoint], options: Options) -> None:
        self._endpoints, self._options = endpoints, options
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self) -> None:
        """Connections open when needed."""

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        self._idle.clear()

    async def request(self, index: int, prompt: str) -> Answer:
        return await self._exchange(index, prompt, stream=False)

    async def stream(self, index: int, prompt: str, *, leave_after: int | None = None) -> Answer:
        return await self._exchange(index, prompt, stream=True)

    def view(self, kind: str, *arguments: object) -> Pool:
        raise NotImplementedError(kind)

    def counts(self) -> Tally:
        return Tally()

    async def _exchange(self, index: int, prompt: str, *, stream: bool) -> Answer:
        endpoint = self._endpoints[index]
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(endpoint.host, endpoint.port)
        self._idle.append((reader, writer))
        writer.write(self._message(prompt, stream))
        try:
            async with asyncio.timeout(min(self.limit, self._options.timeout)):
                return Answer(True, await self._read(reader, stream))
        except (ValueError, asyncio.IncompleteReadError, LookupError, OSError) as error:
            self._idle.remove((reader, writer))
            writer.close()
            return Answer(False, error=repr(error))

    async def _read(self, reader: asyncio.StreamReader, stream: bool) -> str:
        head = await reader.readuntil(b"\r\n\r\n")
        if stream:
            return str(await reader.readline())
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        answer = json.loads(await reader.readexactly(length))
        return str(answer["choices"][0]["message"]["content"])

    def _message(self, prompt: str, stream: bool) -> bytes:
        messages = [{"role": "user", "content": prompt}]
        body = {"model": "sim", "messages": messages, "max_tokens": self._options.max_tokens, "stream": stream}
        content = json.dumps(body).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: fleet\r\nContent-Length: {len(content)}\r\n"
        return f"{head}Content-Type: application/json\r\n\r\n".encode() + content


class Unaware(Undrained):
    """The same in no hurry: it never looks whether an idle connection still stands."""

    limit = 30.0


@dataclass(frozen=True, slots=True)
class Broken:
    """A client, the claim that must fail it, and a pattern of the reason it must give.

    `patience` is in seconds, and little: a broken client would use up any amount.
    """

    claim: str
    client: Client
    why: str
    patience: float = 0.5


def _broken(
    claim: str, pool: Callable[[Sequence[Endpoint], Options], Pool], why: str, *features: str, patience: float = 0.5
) -> Broken:
    client = BrokenClient(getattr(pool, "__name__", "broken"), pool, frozenset(features))
    return Broken(claim, client, why, patience)


BROKEN = (
    _broken("one-connection", OneShot, r"60 sequential requests opened 60 connections, not 1"),
    _broken("exactly-n", OneShot, r"128 more connections were opened by 4 later waves"),
    _broken("exactly-n", Timid, r"32 concurrent requests opened 31 connections"),
    _broken("socket-limit", Unbounded, r"limit 16: the fleet saw 64 connections open at rest"),
    Broken("socket-limit", bare_aiohttp, r"limit 2: \d+ sockets at once for a name of 3 addresses"),
    _broken("concurrency", Unbounded, r"concurrency 8: \d+ requests were in flight at once"),
    _broken("concurrency", Timid, r"8 requests at once were never in flight"),
    _broken("agent-cap", Unbounded, r"cap 3 per agent: 24 were in flight at one"),
    _broken("shared-session", OwnSessions, r"views opened \d+ connections of their own", "views"),
    _broken("view-close", ClosingViews, r"a request failed|raised RuntimeError", "views"),
    _broken("clean-close", Forgetful, r"sockets? still open when close had returned"),
    _broken("eager-eof", OneShot, r"20 eager answers, left unread, used 20 connections, not 1"),
    _broken("eager-eof", Undrained, r"requests after an unread body got wrong bytes or none"),
    _broken("every-ending", Trusting, r"unary truncated: success with the text ''"),
    _broken("every-ending", LeakySlots, r"after truncated: \d of 2 slots are free"),
    _broken("cancel-phases", LeakySlots, r"after cancelled while connecting: 2 of 3 slots are free"),
    _broken("cancel-phases", Shielded, r"connecting: 1 descriptor stayed open"),
    _broken("keepalive-race", Patient, r"the server closed \d+ of \d+ connections before the client did"),
    Broken("no-stranded-waiter", bare_aiohttp, r"stranded the next one"),
    _broken("no-stranded-waiter", LastComeFirstServed, r"waiters were served before an earlier one"),
    _broken("refusal", Reopening, r"of 2 calls on a closed pool were not refused"),
    Broken("refusal", bare_aiohttp, r"a pool dropped open in its running loop warned \d times, not once"),
    _broken("ledgers-agree", Miscounting, r"when quiet the client counts 0 closed, the fleet [1-9]", "ledger"),
    *(
        _broken(claim, pool, why, "retries", "breakers", "hedges")
        for claim, pool, why in (
            ("retry-count", broken_care.Eager, r"before_head: the fleet got it 2 times, not 1"),
            ("retry-count", broken_care.Stubborn, r"6x unavailable: the fleet got it 7 times, not 3"),
            ("retry-count", broken_care.Secretive, r"unavailable: the fleet got it 2 times, the caller was told 1"),
            ("retry-after", broken_care.Hasty, r"a Retry-After of 1 s was waited for 0\.\d+ s"),
            ("retry-after", broken_care.Hogging, r"the slot was held in the pause"),
            ("eject-return", broken_care.Careful, r"a dead agent was tried 23 times, not 3"),
            ("eject-return", broken_care.Unforgiving, r"an agent that is back got no request"),
            ("eject-return", broken_care.Rushing, r"an agent that may be back was sent \d+ requests at once, not 1"),
            ("hedge-loser", broken_care.Careful, r"hedged, one failed"),
            ("hedge-loser", broken_care.Littering, r"after a hedged request: 1 in flight at the agents"),
            ("hedge-loser", broken_care.Deserting, r"after a cancelled race: 2 in flight at the agents"),
        )
    ),
    *(
        _broken(claim, pool, why, "websockets")
        for claim, pool, why in (
            ("ws-reuse", broken_websockets.OneShot, r"20 callers in turn opened 20 websockets, not 1"),
            ("ws-reuse", broken_websockets.Simple, r"'after an unread answer' was answered with 'unread'"),
            ("ws-deadline", broken_websockets.Simple, r"given back past its time: 1 websocket open, not 0"),
            ("ws-peer-close", broken_websockets.Simple, r"raised \w+"),
            ("ws-invalidate", broken_websockets.Cutting, r"after invalidate, with one in use: 0 websockets open"),
            ("ws-prewarm", broken_websockets.Greedy, r"prewarm\(6\) opened 18 websockets"),
            ("ws-close", broken_websockets.Reckless, r"callers still wait when close has returned"),
        )
    ),
    _broken("faults-connect", LeakySlots, r"accept_fin unary read: afterwards [01] of 2 slots are free"),
    _broken("faults-connect", Misnaming, r"accept_fin unary read: told as timeout, not a failure \(disc", "kinds"),
    _broken("faults-request", Trusting, r"before_head unary read: success with the text ''"),
    _broken("faults-head", Raising, r"delay;seconds=1h unary timed out: raised LookupError"),
    Broken("faults-body", bare_aiohttp, r"second_response;seconds=1ms unary read: afterwards 1 of 20 fail", 4.0),
    _broken("faults-body", Trusting, r"split;gap=1h unary timed out: success with the text '', not"),
    _broken("faults-stream", Trusting, r"error_event stream read: success with the text", patience=4.0),
    _broken("faults-after", Unaware, r"close unary read: afterwards 1 of 20 fail: ..IncompleteReadError"),
    _broken("faults-after", Forgetful, r"\d+ warnings: ResourceWarning: Unclosed client session"),
    _broken("faults-process", Trusting, r"lying_health unary read: success with the text ''", patience=4.0),
    _broken("faults-status", Trusting, r"bad_request unary read: success with the text ''"),
)

HONEST = (
    _broken("retry-count", broken_care.Careful, "", "retries"),
    _broken("retry-after", broken_care.Careful, "", "retries"),
    _broken("eject-return", broken_care.Breaking, "", "breakers"),
    _broken("hedge-loser", broken_care.Hedging, "", "hedges"),
)
