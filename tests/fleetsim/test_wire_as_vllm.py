"""Where a plain aiohttp.web server differs from vLLM (uvicorn 0.54 and starlette 1.10 under vLLM 0.33), row by row.

Expected bytes were recorded from uvicorn on uvloop with httptools, behind vLLM's middlewares; only the date varies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from answers import DONE, Witness, always, hello, streamed
from raw_http import Peer, bodies_of, dated, get, post

from fleetsim import ApiRequest, EventStream, Fleet, Reply, Unary

SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
HELLO = (
    b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-length: 10\r\n"
    b'content-type: application/json\r\nvary: Origin\r\n\r\n{"read":0}'
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"vary: Origin\r\ntransfer-encoding: chunked\r\n\r\n"
)
INVALID = (
    b"HTTP/1.1 400 Bad Request\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\nconnection: close\r\n\r\nInvalid HTTP request received."
)


async def test_an_idle_connection_gets_a_fin_when_its_time_is_over_and_no_sooner() -> None:
    async with Fleet(1, answer=lambda index: hello, keepalive_timeout=0.05) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        assert dated(await peer.to_the_end()) == HELLO
        await fleet.ledger.wait_for(closed=1)
        (connection,), (request,) = fleet.ledger.connection_records(), fleet.ledger.request_records()
        assert (connection.ended_by, connection.ended_how) == ("server", "fin")
        assert connection.ended_at is not None
        assert request.ended_at is not None
        assert connection.ended_at - request.ended_at >= 0.05 - 0.001


async def test_the_idle_time_is_vllms_five_seconds_unless_told() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        assert fleet[0].keepalive_timeout == 5.0


async def test_a_fresh_connection_and_half_a_head_are_never_timed_out() -> None:
    fleet = Fleet(1, answer=lambda index: hello, keepalive_timeout=0.01)
    async with fleet, Peer(fleet[0].port) as fresh, Peer(fleet[0].port) as partial, Peer(fleet[0].port) as second:
        await partial.send(post("/")[:20])
        await second.send(post("/"))
        await second.response()
        await second.send(post("/")[:20])
        for _ in range(3):
            async with Peer(fleet[0].port) as idle:
                await idle.send(post("/"))
                await idle.to_the_end()
        assert fresh.is_quiet()
        assert partial.is_quiet()
        assert second.is_quiet()
        await fresh.send(post("/"))
        assert dated(await fresh.response()) == HELLO
        for peer in (partial, second):
            await peer.send(post("/")[20:])
            assert dated(await peer.response()) == HELLO


@pytest.mark.skipif(
    not SOMAXCONN.exists() or int(SOMAXCONN.read_text()) < 400, reason="the kernel allows no long queue of connections"
)
async def test_more_connections_queue_before_they_are_accepted_than_the_128_of_aiohttp() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet:
        await fleet[0].pause_accepting()
        peers = [Peer(fleet[0].port) for _ in range(300)]
        async with asyncio.TaskGroup() as group:
            for peer in peers:
                group.create_task(peer.__aenter__())
        await fleet[0].resume_accepting()
        await fleet.ledger.wait_for(opened=300)
        for peer in peers:
            peer.close()


async def test_a_stream_sends_its_head_at_once_and_then_waits_for_the_first_token() -> None:
    witness = Witness()

    async def answer(request: ApiRequest) -> Reply:
        async def nothing_yet() -> AsyncIterator[bytes]:
            await witness.let_go.wait()
            yield DONE

        return EventStream(nothing_yet())

    async with Fleet(1, answer=lambda index: answer) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        assert dated(await peer.until(b"\r\n\r\n")) == STREAM_HEAD
        assert fleet.ledger.in_flight == 1
        assert peer.is_quiet()
        witness.let_go.set()
        assert await peer.until(b"0\r\n\r\n") == b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


async def test_each_event_is_one_chunk_and_the_last_comes_with_the_terminator() -> None:
    async with Fleet(1, answer=lambda index: streamed(b"data: 1\n\n", DONE)) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        whole = await peer.until(b"0\r\n\r\n")
        assert dated(whole) == STREAM_HEAD + b"9\r\ndata: 1\n\n\r\n" + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


async def test_heads_are_lower_case_and_in_uvicorns_order() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        assert dated(await peer.response()) == HELLO


async def test_health_has_no_content_type() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/health"))
        assert dated(await peer.response()) == (
            b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-length: 0\r\nvary: Origin\r\n\r\n"
        )


async def test_json_is_compact_and_its_content_type_bare() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/version"))
        response = dated(await peer.response())
        assert b"content-type: application/json\r\nvary: Origin\r\n\r\n" in response
        assert response.endswith(b'{"version":"0.33.0"}')


async def test_a_body_of_three_megabytes_is_read() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", body=b"x" * 3_000_000))
        assert (await peer.response()).endswith(b'{"read":3000000}')


async def test_a_chunked_request_body_is_read() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/", "transfer-encoding: chunked", method="POST") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert (await peer.response()).endswith(b'{"read":5}')


@pytest.mark.parametrize(
    "headers", [["x-long: " + "a" * 120_000], [f"x-{n}: 1" for n in range(300)]], ids=["a long line", "many lines"]
)
async def test_a_large_head_is_accepted(headers: list[str]) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", *headers))
        assert dated(await peer.response()) == HELLO


async def test_unknown_paths_and_wrong_methods_are_answered_in_json() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/nowhere"))
        assert (await peer.response()).endswith(b'\r\n\r\n{"detail":"Not Found"}')
        await peer.send(get("/v1/chat/completions"))
        assert dated(await peer.response()) == (
            b"HTTP/1.1 405 Method Not Allowed\r\ndate: <date>\r\nserver: uvicorn\r\nallow: POST\r\n"
            b"content-length: 31\r\ncontent-type: application/json\r\nvary: Origin\r\n\r\n"
            b'{"detail":"Method Not Allowed"}'
        )


async def test_head_is_not_allowed_and_gets_no_body() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/health", method="HEAD") + get("/version"))
        head = await peer.until(b"\r\n\r\n")
        assert dated(head) == (
            b"HTTP/1.1 405 Method Not Allowed\r\ndate: <date>\r\nserver: uvicorn\r\nallow: GET\r\n"
            b"content-length: 31\r\ncontent-type: application/json\r\nvary: Origin\r\n\r\n"
        )
        assert (await peer.response()).endswith(b'{"version":"0.33.0"}')


async def test_nonsense_in_place_of_json_is_a_400_on_a_connection_that_is_kept() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        for _ in range(2):
            await peer.send(post("/v1/chat/completions", "content-type: application/json", body=b"{nonsense"))
            assert (await peer.response()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert fleet.ledger.reused == 1


async def test_a_handler_that_raises_is_a_500_without_vary_or_warning_and_then_a_fin(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(request: ApiRequest) -> Reply:
        raise ArithmeticError("not today")

    async with Fleet(1, answer=lambda index: answer) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        assert dated(await peer.to_the_end()) == (
            b"HTTP/1.1 500 Internal Server Error\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-length: 98\r\n"
            b"content-type: application/json\r\n\r\n"
            b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
        )
    assert "not today" in caplog.text


async def test_an_error_vllm_handles_itself_has_vary_and_keeps_the_connection() -> None:
    async with Fleet(1, answer=lambda index: always(Unary(500, b"{}"))) as fleet, Peer(fleet[0].port) as peer:
        for _ in range(2):
            await peer.send(post("/"))
            assert (await peer.response()).endswith(b"vary: Origin\r\n\r\n{}")


async def test_an_exception_in_a_stream_is_a_fin_without_the_last_chunk(caplog: pytest.LogCaptureFixture) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        raise ArithmeticError("not today")

    async with Fleet(1, answer=lambda index: always(EventStream(breaking()))) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/"))
        assert dated(await peer.to_the_end()) == STREAM_HEAD + b"9\r\ndata: 1\n\n\r\n"
        await fleet.ledger.wait_for(open_now=0)
        assert [request.outcome for request in fleet.ledger.request_records()] == ["error"]
    assert "not today" in caplog.text


async def test_http_1_0_is_answered_as_1_1_with_connection_close() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", "connection: keep-alive", version="1.0"))
        assert dated(await peer.to_the_end()) == HELLO.replace(
            b"vary: Origin\r\n", b"vary: Origin\r\nconnection: close\r\n"
        )


async def test_an_http_1_0_stream_is_chunked_all_the_same() -> None:
    async with Fleet(1, answer=lambda index: streamed(DONE)) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", version="1.0"))
        head = STREAM_HEAD.replace(b"transfer-encoding", b"connection: close\r\ntransfer-encoding")
        assert dated(await peer.to_the_end()) == head + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


async def test_connection_close_is_answered_in_kind() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", "Connection: close"))
        assert b"vary: Origin\r\nconnection: close\r\n\r\n" in await peer.to_the_end()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01 a TLS hello\r\n\r\n",
        b"GET / NONSENSE\r\n\r\n",
        get("/", "transfer-encoding: chunked", method="POST") + b"zz\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["other bytes", "another protocol", "a broken chunk"],
)
async def test_what_is_not_http_is_a_400_in_plain_text_and_a_fin(nonsense: bytes) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(nonsense)
        assert dated(await peer.to_the_end()) == INVALID


@pytest.mark.parametrize("path", ["/unary", "/stream"])
async def test_a_client_that_disconnects_cancels_the_work(path: str) -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet:
        async with Peer(fleet[0].port) as peer:
            await peer.send(post(path))
            await witness.begun.wait()
        await fleet.ledger.wait_for(in_flight=0, open_now=0)
        assert witness.cancelled.is_set()
        assert [request.outcome for request in fleet.ledger.request_records()] == ["client_gone"]


@pytest.mark.parametrize("path", ["/unary", "/stream"])
async def test_a_half_close_is_a_disconnect(path: str) -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post(path))
        await witness.begun.wait()
        peer.half_close()
        assert b"data: [DONE]" not in await peer.to_the_end()
        await fleet.ledger.wait_for(in_flight=0, open_now=0)
        assert witness.cancelled.is_set()
        (connection,) = fleet.ledger.connection_records()
        assert (connection.ended_by, connection.ended_how) == ("client", "fin")


async def test_expect_is_answered_before_the_body_comes() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        head, body = post("/", "expect: 100-continue", body=b"abc")[:-3], b"abc"
        await peer.send(head)
        assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await peer.send(body)
        assert (await peer.response()).endswith(b'{"read":3}')


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        lengths = list(range(100))
        await peer.send(b"".join(post("/", body=b"x" * length) for length in lengths))
        answers = b"".join([await peer.response() for _ in lengths])
        assert bodies_of(answers) == [b'{"read":%d}' % length for length in lengths]


async def test_a_graceful_stop_closes_idle_connections_at_once_and_lets_streams_end() -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness) as fleet:
        server = fleet[0]
        async with Peer(server.port) as fresh, Peer(server.port) as stream, Peer(server.port) as unary:
            await stream.send(post("/stream"))
            await stream.until(b"data: 1\n\n\r\n")
            await unary.send(post("/unary"))
            await fleet.ledger.wait_for(in_flight=2, opened=3)
            draining = asyncio.create_task(server.drain())
            assert await fresh.to_the_end() == b""
            with pytest.raises(ConnectionRefusedError):
                await Peer(server.port).__aenter__()
            assert stream.is_quiet()
            assert not draining.done()
            witness.let_go.set()
            assert await stream.to_the_end() == b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
            assert b"vary: Origin\r\nconnection: close\r\n\r\n{}" in await unary.to_the_end()
            await draining


async def test_a_reset_is_certainly_a_reset() -> None:
    async with Fleet(1, answer=lambda index: hello, ending="reset") as fleet:
        for _ in range(20):
            async with Peer(fleet[0].port) as peer:
                await peer.send(post("/"))
                await peer.to_the_reset()
        await fleet.ledger.wait_for(closed=20)
        assert {(each.ended_by, each.ended_how) for each in fleet.ledger.connection_records()} == {("server", "rst")}
