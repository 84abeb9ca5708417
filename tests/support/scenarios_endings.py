"""What ends early: resets, ends of stream, cancels, timeouts, closes, and connections gone stale."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
from aiohttp import web
from differential import GAP, OK, Stage, Visit, chunks, scenario

_PART = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"


async def _cancelled(stage: Stage, task: asyncio.Task[bytes]) -> None:
    await asyncio.sleep(2 * GAP)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        stage.tell("cancelled")


@scenario
async def cancel_mid_headers(stage: Stage) -> None:
    seen = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            stage.tell("cancelled", by="server")
            seen.set()
            raise
        return web.Response()

    url, _ = await stage.web(answer, handler_cancellation=True)
    async with stage.session() as session:
        await _cancelled(stage, asyncio.create_task(stage.fetch(session, "GET", url)))
        stage.tell_counts()
        async with asyncio.timeout(5):
            await seen.wait()


@scenario
async def cancel_mid_body(stage: Stage) -> None:
    async def serve(visit: Visit) -> None:
        await visit.request()
        visit.writer.write(_PART)
        visit.tell("read", await visit.reader.read(1))

    url, _ = await stage.raw(serve)
    async with stage.session() as session:
        await _cancelled(stage, asyncio.create_task(stage.fetch(session, "GET", url)))
        stage.tell_counts()
        await asyncio.sleep(GAP)


@scenario
async def shutdown_graceful(stage: Stage) -> None:
    """What is in flight finishes, what is idle is closed, what comes after is refused."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await asyncio.sleep(4 * GAP)
        return web.Response(text=request.path)

    url, runner = await stage.web(answer, shutdown_timeout=2)
    async with stage.session() as session:
        await stage.fetch(session, "GET", url)
        slow = asyncio.create_task(stage.fetch(session, "GET", url + "/slow"))
        await asyncio.sleep(GAP)
        await runner.cleanup()
        await slow
        await asyncio.sleep(GAP)
        stage.tell_counts()
        await stage.fetch(session, "GET", url)
        stage.tell_counts()


def _dies(name: str, method: str, sent: bytes, *, with_rst: bool, gap: float = GAP) -> None:
    """A scenario whose server reads a request, sends this much, and is gone."""

    async def play(stage: Stage) -> None:
        async def serve(visit: Visit) -> None:
            await visit.request()
            if sent:
                visit.writer.write(sent)
                await asyncio.sleep(gap)
            if with_rst:
                visit.abort()

        url, _ = await stage.raw(serve)
        async with stage.session() as session:
            await stage.fetch(session, method, url, data=b"x" if method == "POST" else None)
            stage.tell_counts()

    play.__name__ = name
    scenario(play)


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo"
_dies("rst_mid_body", "GET", _PART, with_rst=True)
_dies("fin_mid_body", "GET", _PART, with_rst=False)
_dies("fin_mid_chunked", "GET", _CHUNKED, with_rst=False)
_dies("fin_before_head", "POST", b"", with_rst=False)
_dies("rst_before_head", "POST", b"", with_rst=True)
_dies("fin_partial_head", "POST", b"HTTP/1.1 200 OK\r\nContent-Le", with_rst=False)
_dies("garbage_head", "GET", b"SSH-2.0-OpenSSH\r\n\r\n", with_rst=False)


def _goes_stale(name: str, *, with_rst: bool) -> None:
    """A scenario whose server ends each connection once it is idle."""

    async def play(stage: Stage) -> None:
        async def serve(visit: Visit) -> None:
            await visit.request()
            visit.writer.write(OK)
            await asyncio.sleep(GAP)
            if with_rst:
                visit.abort()

        url, _ = await stage.raw(serve)
        async with stage.session() as session:
            for _ in range(3):
                await stage.fetch(session, "POST", url, data=b"x")
                await asyncio.sleep(3 * GAP)
                stage.tell_counts()

    play.__name__ = name
    scenario(play)


_goes_stale("stale_fin_idle", with_rst=False)
_goes_stale("stale_rst_idle", with_rst=True)


def _dies_when_reused(method: str, *, with_rst: bool) -> None:
    """A scenario whose server ends the first connection at its second request."""

    async def play(stage: Stage) -> None:
        async def serve(visit: Visit) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError):
                for number in range(1, 10):
                    head = await visit.request()
                    visit.tell("asked", number, head.split()[0])
                    if visit.number == 1 and number == 2:
                        if with_rst:
                            visit.abort()
                        return
                    visit.writer.write(OK)

        url, _ = await stage.raw(serve)
        async with stage.session() as session:
            for _ in range(3):
                await stage.fetch(session, method, url, data=b"x" if method == "POST" else None)
            stage.tell_counts()

    play.__name__ = f"reuse_{'rst' if with_rst else 'fin'}_{method.lower()}"
    scenario(play)


for _method in ("GET", "POST"):
    _dies_when_reused(_method, with_rst=False)
    _dies_when_reused(_method, with_rst=True)


@scenario
async def refused(stage: Stage) -> None:
    async def serve(visit: Visit) -> None:
        visit.tell("never")

    url, server = await stage.raw(serve)
    server.close()
    await asyncio.sleep(GAP)
    async with stage.session() as session:
        await stage.fetch(session, "GET", url)
        stage.tell_counts()


@scenario
async def half_close_client(stage: Stage) -> None:
    async def serve(visit: Visit) -> None:
        visit.tell("got", await visit.reader.read())
        for number in range(3):
            visit.writer.write(b"part%d" % number)
            await asyncio.sleep(GAP)
        await visit.writer.drain()

    url, _ = await stage.raw(serve)
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"hello")
    writer.write_eof()
    stage.tell("got", await reader.read())
    writer.close()


@scenario
async def half_close_server(stage: Stage) -> None:
    """The response is whole and the server still reads; the client lets the connection go."""

    async def serve(visit: Visit) -> None:
        await visit.request()
        visit.writer.write(OK)
        visit.writer.write_eof()
        visit.tell("after", await visit.reader.read())

    url, _ = await stage.raw(serve)
    async with stage.session() as session:
        await stage.fetch(session, "GET", url)
        await asyncio.sleep(GAP)
        stage.tell_counts()
        await asyncio.sleep(GAP)


@scenario
async def timeouts(stage: Stage) -> None:
    async def serve(visit: Visit) -> None:
        await visit.request()
        if visit.number == 2:
            visit.writer.write(_PART)
        await asyncio.sleep(1.5)

    url, _ = await stage.raw(serve)
    limits = (aiohttp.ClientTimeout(total=0.2), *[aiohttp.ClientTimeout(sock_read=0.2)] * 2)
    async with stage.session() as session:
        for limit in limits:
            await stage.fetch(session, "GET", url, timeout=limit)
        stage.tell_counts()


@scenario
async def early_413(stage: Stage) -> None:
    """The server answers without reading the body and closes: what is unread makes that an RST."""

    async def serve(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        visit.writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await visit.writer.drain()
        await asyncio.sleep(GAP)

    url, _ = await stage.raw(serve)
    async with stage.session() as session:
        await stage.fetch(session, "POST", url, data=chunks(b"q" * (400 * 65536), 65536))
        stage.tell_counts()


@scenario
async def connector_close_inflight(stage: Stage) -> None:
    async def serve(visit: Visit) -> None:
        await visit.request()
        visit.tell("read", await visit.reader.read(1))

    url, _ = await stage.raw(serve)
    session = stage.session()
    asked = asyncio.create_task(stage.fetch(session, "GET", url))
    await asyncio.sleep(GAP)
    await session.close()
    await asked
    await asyncio.sleep(GAP)
