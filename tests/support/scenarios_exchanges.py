"""What goes well: requests, streams, bodies of all kinds, websockets, backpressure."""

from __future__ import annotations

import asyncio
import hashlib
import io

import aiohttp
from aiohttp import web
from differential import GAP, Stage, Visit, abort, chunks, scenario

_EIGHT_MIB = bytes(range(256)) * 4096 * 8


@scenario
async def keepalive(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="x" * 10)

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        for _ in range(5):
            await stage.fetch(session, "GET", url)
        stage.tell_counts()


@scenario
async def chunked_stream(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for number in range(5):
            await response.write(b"chunk%d" % number)
            await asyncio.sleep(GAP)
        await response.write_eof()
        return response

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        async with session.get(url) as response:
            async for data, end in response.content.iter_chunks():
                stage.tell("chunk", data.decode(), end)
        stage.tell_counts()


@scenario
async def sse_tokens(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(20):
            await response.write(b"data: %d\n\n" % number)
            await asyncio.sleep(0.005)
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        for _ in range(2):
            async with session.post(url, json={"stream": True}) as response:
                lines = [line async for line in response.content if line.startswith(b"data: ")]
                stage.tell("lines", len(lines), lines[-1])
        stage.tell_counts()


@scenario
async def sse_client_break(stage: Stage) -> None:
    """The client stops reading in mid stream, and the server sees it."""
    seen = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for number in range(400):
                await response.write(b"data: %d\n\n" % number)
                await asyncio.sleep(0.005)
        except OSError as error:
            stage.tell("raised", type(error).__name__, by="server")
            raise
        finally:
            seen.set()
        return response

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        async with session.get(url) as response:
            async for line in response.content:
                if b"10" in line:
                    break
        stage.tell_counts()
        async with asyncio.timeout(5):
            await seen.wait()


@scenario
async def websocket(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.data == "bye":
                await socket.close(code=4000)
            else:
                await socket.send_str(message.data * 2)
        stage.tell("closed", socket.close_code, by="server")
        return socket

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        async with session.ws_connect(url) as socket:
            for number in range(5):
                await socket.send_str(f"m{number}")
                stage.tell((await socket.receive()).data)
            await socket.send_str("bye")
            last = await socket.receive()
            stage.tell(last.type.name, last.data)
        stage.tell_counts()
        await asyncio.sleep(GAP)


@scenario
async def websocket_abrupt(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hi")
        await asyncio.sleep(GAP)
        abort(request.transport)
        return socket

    url, _ = await stage.web(answer)
    async with stage.session() as session, session.ws_connect(url) as socket:
        for _ in range(2):
            message = await socket.receive()
            stage.tell(message.type.name, message.data if message.type is aiohttp.WSMsgType.TEXT else None)
        stage.tell(socket.close_code, type(socket.exception()).__name__)


@scenario
async def upload_backpressure(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.Response:
        digest, size = hashlib.sha256(), 0
        async for part in request.content.iter_chunked(65536):
            digest.update(part)
            size += len(part)
            if size % (1 << 20) < 65536:
                await asyncio.sleep(0.002)
        return web.Response(text=f"{size} {digest.hexdigest()}")

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        for data in (io.BytesIO(_EIGHT_MIB), chunks(_EIGHT_MIB, 100_000)):
            async with session.post(url, data=data) as response:
                stage.tell(await response.text())
        stage.tell_counts()


@scenario
async def download_backpressure(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for part in chunks(_EIGHT_MIB, 100_000):
            await response.write(part)
        await response.write_eof()
        return response

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        async with session.get(url) as response:
            digest, size = hashlib.sha256(), 0
            async for part in response.content.iter_chunked(1 << 16):
                digest.update(part)
                size += len(part)
                if size % (1 << 20) < 65536:
                    await asyncio.sleep(0.002)
            stage.tell(size, digest.hexdigest())
        stage.tell_counts()


@scenario
async def conn_close_header(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.Response:
        response = web.Response(text="x")
        response.force_close()
        return response

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        for _ in range(3):
            await stage.fetch(session, "GET", url)
        stage.tell_counts()


@scenario
async def limits(stage: Stage) -> None:
    now = most = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.03)
        now -= 1
        return web.Response(text="x")

    url, _ = await stage.web(answer)
    async with stage.session(limit=0, limit_per_host=3) as session:
        await asyncio.gather(*[stage.fetch(session, "GET", url) for _ in range(10)])
        stage.tell_counts()
    stage.tell("most", most)


@scenario
async def expect_100(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        stage.tell(await stage.fetch(session, "POST", url, data=b"x" * 1000, expect100=True))
        stage.tell_counts()


@scenario
async def until_eof_body(stage: Stage) -> None:
    async def serve(visit: Visit) -> None:
        await visit.request()
        visit.writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + b"z" * 1000)
        await asyncio.sleep(GAP)
        visit.writer.write(b"y" * 10)

    url, _ = await stage.raw(serve)
    async with stage.session() as session:
        await stage.fetch(session, "GET", url)
        stage.tell_counts()


@scenario
async def release_unread(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * int(request.query["n"]))

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        for size in (10, 500_000):
            async with session.get(url, params={"n": size}) as response:
                stage.tell(response.status)
                await asyncio.sleep(GAP)
            stage.tell_counts()


@scenario
async def gzip_multipart(stage: Stage) -> None:
    async def answer(request: web.Request) -> web.Response:
        fields = await request.post()
        sizes = {
            key: len(each.file.read() if isinstance(each, web.FileField) else each) for key, each in fields.items()
        }
        response = web.json_response(sizes)
        response.enable_compression()
        return response

    url, _ = await stage.web(answer)
    async with stage.session() as session:
        form = aiohttp.FormData()
        form.add_field("a", "1" * 50)
        form.add_field("f", b"z" * 5000, filename="f.bin")
        async with session.post(url, data=form) as response:
            stage.tell(response.headers.get("Content-Encoding"), await response.json())
        stage.tell_counts()
