"""Persistent connections: websockets are held for long, used by one caller after the other, and left in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from fleetsim.exchange import ApiRequest, WebSocket, WebSocketEnd
from fleetsim.fleet import Fleet
from fleetsim.ledger import Ledger
from fleetsim.proofs.claim import Claim, Stage, counted, endpoints_of, figure, settled
from fleetsim.proofs.client import Borrowed, WebSocketOptions, WebSocketPool, WebSockets

__all__ = ["WS_CLOSE", "WS_DEADLINE", "WS_INVALIDATE", "WS_PEER_CLOSE", "WS_PREWARM", "WS_REUSE"]

PATH = "/echo"
TURNS = 20
WARM = 6
DURATION = 0.2  # seconds


class Told:
    """A server that echoes, holds its answers back while it is told to, and leaves when it is told to."""

    def __init__(self) -> None:
        self.speak, self.leave = asyncio.Event(), asyncio.Event()
        self.speak.set()
        self.politely = True

    async def answer(self, _: ApiRequest) -> WebSocket:
        """Grant every request a websocket."""
        return WebSocket(self._talk)

    async def _talk(self, end: WebSocketEnd) -> None:
        works = [asyncio.ensure_future(self._echo(end)), asyncio.ensure_future(self.leave.wait())]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        if self.politely:
            await end.close(1001)

    async def _echo(self, end: WebSocketEnd) -> None:
        async for message in end:
            await self.speak.wait()
            await end.send(message)


@asynccontextmanager
async def borrowing(
    stage: Stage, options: WebSocketOptions | None = None, **settings: Any
) -> AsyncIterator[tuple[Fleet, WebSockets]]:
    """A fleet of one, and the client's websockets to it. What the fleet saw becomes its figure."""
    async with stage.fleet(1, **settings) as fleet, stage.pool(endpoints_of(fleet)) as pool:
        websockets = cast("WebSocketPool", pool).websockets(0, PATH, options or WebSocketOptions())
        try:
            yield fleet, websockets
        finally:
            ledger = fleet.ledger
            stage.evidence.fleet = figure(websockets=ledger.websockets, open=ledger.websockets_open)
            await websockets.close()


async def asked(stage: Stage, borrowed: Borrowed, text: str) -> None:
    """Ask, and check that the answer is the answer to that."""
    answer = await borrowed.ask(text)
    stage.evidence.check(answer == text, f"{text!r} was answered with {answer!r}")


async def used(stage: Stage, websockets: WebSockets, text: str) -> None:
    """Borrow a websocket, ask it, give it back."""
    borrowed = await websockets.borrow()
    await asked(stage, borrowed, text)
    borrowed.give_back()


async def until_open(stage: Stage, ledger: Ledger, number: int, when: str) -> None:
    """Check that so many websockets are open before long."""
    held = await stage.until(lambda: ledger.websockets_open == number)
    stage.evidence.check(held, f"{when}: {counted(ledger.websockets_open, 'websocket')} open, not {number}")


async def reuse(stage: Stage) -> None:
    """Callers one after the other; then one that leaves an answer unread, whose websocket must serve nobody else."""
    server = Told()
    async with borrowing(stage, answer=lambda _: server.answer) as (fleet, websockets):
        for turn in range(TURNS):
            await used(stage, websockets, f"turn {turn}")
        opened = fleet.ledger.websockets
        stage.evidence.client = figure(turns=TURNS)
        stage.evidence.check(opened == 1, f"{TURNS} callers in turn opened {counted(opened, 'websocket')}, not 1")
        await _leave_unread(stage, server, fleet.ledger, websockets)
        await used(stage, websockets, "after an unread answer")


async def _leave_unread(stage: Stage, server: Told, ledger: Ledger, websockets: WebSockets) -> None:
    borrowed, before = await websockets.borrow(), ledger.messages_in
    server.speak.clear()
    asking = asyncio.ensure_future(borrowed.ask("unread"))
    await stage.until(lambda: ledger.messages_in > before)
    asking.cancel()
    await asyncio.wait([asking])
    server.speak.set()
    await stage.until(lambda: ledger.messages_out == ledger.messages_in)
    await settled(lambda: ledger.messages_out)
    borrowed.give_back()


async def deadline(stage: Stage) -> None:
    """One is held past its time and must go on; given back it must go; an idle one must go with no traffic at all."""
    options = WebSocketOptions(max_session_duration=DURATION)
    async with borrowing(stage, options) as (fleet, websockets):
        held = await websockets.borrow()
        await asyncio.sleep(1.5 * DURATION)
        await asked(stage, held, "past its time, in use")
        held.give_back()
        await until_open(stage, fleet.ledger, 0, "given back past its time")
        await used(stage, websockets, "the next one")
        await until_open(stage, fleet.ledger, 0, "idle past its time, with no traffic")
        opened = fleet.ledger.websockets
        stage.evidence.client = figure(asked=2)
        stage.evidence.check(opened == 2, f"two sessions took {counted(opened, 'websocket')}, not 2")


async def peer_close(stage: Stage) -> None:
    """The server ends what is idle, with a close frame and without; the next caller must not notice."""
    server = Told()
    async with borrowing(stage, answer=lambda _: server.answer) as (fleet, websockets):
        for turn in range(TURNS):
            await used(stage, websockets, f"turn {turn}")
            server.politely = turn % 2 == 0
            server.leave.set()
            await until_open(stage, fleet.ledger, 0, f"turn {turn}, told to leave")
            server.leave.clear()
        opened = fleet.ledger.websockets
        stage.evidence.client = figure(asked=TURNS)
        stage.evidence.check(opened == TURNS, f"{TURNS} ended sessions and {counted(opened, 'websocket')}")


async def invalidate(stage: Stage) -> None:
    """With one in use and one idle: the idle one goes now, the other when it is given back; neither serves again."""
    async with borrowing(stage) as (fleet, websockets):
        one, other = await websockets.borrow(), await websockets.borrow()
        other.give_back()
        websockets.invalidate()
        await until_open(stage, fleet.ledger, 1, "after invalidate, with one in use")
        await asked(stage, one, "in use throughout")
        one.give_back()
        await until_open(stage, fleet.ledger, 0, "after that one was given back")
        await used(stage, websockets, "afterwards")
        opened = fleet.ledger.websockets
        stage.evidence.client = figure(asked=2)
        stage.evidence.check(opened == 3, f"opened {counted(opened, 'websocket')}, not 2 before and 1 after")


async def prewarm(stage: Stage) -> None:
    """Prewarming twice at once, and again; then as many callers at once as are warm."""
    async with borrowing(stage) as (fleet, websockets):
        await asyncio.gather(websockets.prewarm(WARM), websockets.prewarm(WARM))
        await websockets.prewarm(WARM)
        await settled(lambda: fleet.ledger.opened)
        opened = fleet.ledger.websockets
        stage.evidence.check(opened == WARM, f"prewarm({WARM}) opened {counted(opened, 'websocket')}")
        callers = await asyncio.gather(*(websockets.borrow() for _ in range(WARM)))
        for number, borrowed in enumerate(callers):
            await asked(stage, borrowed, f"caller {number}")
            borrowed.give_back()
        more = fleet.ledger.websockets - opened
        stage.evidence.client = figure(prewarmed=WARM, borrowed=WARM)
        stage.evidence.check(more == 0, f"{WARM} callers opened {more} more")


async def close(stage: Stage) -> None:
    """Closed with some in use, some idle and handshakes under way; then asked again."""
    async with stage.fleet(2) as fleet, stage.pool(endpoints_of(fleet)) as pool:
        busy, idle = (cast("WebSocketPool", pool).websockets(index, PATH, WebSocketOptions()) for index in (0, 1))
        ledger, evidence = fleet.ledger, stage.evidence
        await idle.prewarm(2)
        _ = [await busy.borrow() for _ in range(2)]
        with fleet.fault("slow_upgrade", seconds="30s"):
            late = [asyncio.ensure_future(busy.borrow()) for _ in range(2)]
            await stage.until(lambda: ledger.open_now == 6)
            await asyncio.gather(busy.close(), idle.close())
            evidence.check(await stage.ended(late), "callers still wait when close has returned")
        refused = await _refusals(late)
        evidence.check(refused == len(late), f"{len(late) - refused} of {len(late)} waiting callers were not told")
        await stage.until(lambda: ledger.open_now == 0)
        evidence.check(ledger.open_now == 0, f"{counted(ledger.open_now, 'connection')} left open")
        await _ask_closed(stage, ledger, (busy, idle))
        evidence.client = figure(refused=refused)
        evidence.fleet = figure(opened=ledger.opened, open=ledger.open_now)


async def _refusals(late: Sequence[asyncio.Future[Borrowed]]) -> int:
    for caller in late:
        caller.cancel()
    ends = await asyncio.gather(*late, return_exceptions=True)
    return sum(isinstance(end, Exception) for end in ends)


async def _ask_closed(stage: Stage, ledger: Ledger, pools: Sequence[WebSockets]) -> None:
    opened = ledger.opened
    for websockets in pools:
        stage.evidence.check(await _refuses(websockets), "a closed pool lent out a websocket")
    await settled(lambda: ledger.opened)
    more = ledger.opened - opened
    stage.evidence.check(more == 0, f"closed pools opened {counted(more, 'connection')}")


async def _refuses(websockets: WebSockets) -> bool:
    try:
        (await websockets.borrow()).discard()
    except Exception:  # noqa: BLE001  # which error a client refuses with is its own affair
        return True
    return False


_NEEDS: Final = frozenset({"websockets"})

WS_REUSE = Claim("ws-reuse", "Callers in turn share one websocket, and none gets another's answer.", reuse, _NEEDS)
WS_DEADLINE = Claim(
    "ws-deadline",
    "A websocket past its time is not used again; none in use is cut, none idle is kept.",
    deadline,
    _NEEDS,
)
WS_PEER_CLOSE = Claim(
    "ws-peer-close", "No caller is given a websocket that its server closed while it was idle.", peer_close, _NEEDS
)
WS_INVALIDATE = Claim(
    "ws-invalidate", "Invalidating closes what is idle and spares whoever is talking.", invalidate, _NEEDS
)
WS_PREWARM = Claim("ws-prewarm", f"Prewarming {WARM} opens exactly {WARM}, however often it is asked.", prewarm, _NEEDS)
WS_CLOSE = Claim("ws-close", "After its close a pool of websockets holds none, and opens none.", close, _NEEDS)
