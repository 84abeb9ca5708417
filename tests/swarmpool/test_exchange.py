"""One request on the wire: every way it may fail has its kind, from a real cause, and gives back what it held."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, chunk, eventually, http, says, sse_head

from swarmpool import AgentPool, FailureKind, RequestFailed, Response

CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


@asynccontextmanager
async def answering(
    respond: Callable[[RawConnection], None], **options: Any
) -> AsyncIterator[tuple[RawAgent, AgentPool]]:
    async with RawAgent(respond) as agent, AgentPool([agent.endpoint], **options) as pool:
        yield agent, pool


def writes(*pieces: bytes) -> Callable[[RawConnection], None]:
    return lambda connection: connection.write(*pieces)


def writes_and(end: str, *pieces: bytes) -> Callable[[RawConnection], None]:
    """Write the pieces, let them arrive, and end the connection."""

    def respond(connection: RawConnection) -> None:
        connection.write(*pieces)
        asyncio.get_running_loop().call_later(0.01 if pieces else 0, getattr(connection, end))

    return respond


async def the_kind(respond: Callable[[RawConnection], None], **options: Any) -> Response:
    """The failure that the agent's behaviour makes; after it nothing is held, and the pool works."""
    async with answering(respond, **options) as (agent, pool):
        response = await pool.post(0, "hi")
        await eventually(lambda: pool.statistics().connections.acquired == 0)
        now = pool.statistics()
        assert (now.admission.in_flight, now.connections.dialing) == (0, 0)
        assert now.requests.failures == {response.kind: 1}
        assert not response.success
        assert response.error
        assert (response.endpoint, response.attempts) == (agent.endpoint, 1)
        agent.respond = writes(says("works"))
        assert (await pool.post(0, "hi")).unwrap() == "works"
    return response


# ------------------------------------------------------------------------------------------------------------- success


async def test_a_success_says_all_there_is_to_say() -> None:
    body = {"text": "hello", "finish_reason": "stop", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    async with answering(writes(http(json.dumps(body).encode()))) as (_, pool):
        response = await pool.post(0, "hi")
        assert (response.success, response.text, response.kind, response.error) == (True, "hello", None, None)
        assert (response.status, response.attempts, response.finish_reason) == (200, 1, "stop")
        assert response.usage is not None
        assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (1, 2)
        assert response.connection == "new"
        assert 0 < response.wire_seconds < 10
        assert response.queue_seconds == 0.0
        assert (await pool.post(0, "hi")).connection == "reused"


async def test_any_2xx_of_the_right_shape_is_a_success() -> None:
    async with answering(writes(http(b'{"response":"made"}', status="201 Created"))) as (_, pool):
        response = await pool.post(0, "hi")
        assert (response.success, response.status) == (True, 201)


async def test_queue_time_and_wire_time_are_told_apart() -> None:
    def respond(connection: RawConnection) -> None:
        asyncio.get_running_loop().call_later(0.1, connection.write, says())

    async with answering(respond, concurrency=1) as (_, pool):
        first, second = await asyncio.gather(pool.post(0, "one"), pool.post(0, "two"))
        assert first.queue_seconds == 0.0
        assert second.queue_seconds >= 0.09
        assert first.wire_seconds >= 0.09
        assert second.wire_seconds >= 0.09


async def test_the_time_limit_begins_with_the_slot() -> None:
    """A request that waited long for its turn used to be counted as a slow server (Aurora-Swarm)."""

    def respond(connection: RawConnection) -> None:
        asyncio.get_running_loop().call_later(0.1, connection.write, says())

    async with answering(respond, concurrency=1, timeout=0.5) as (_, pool):
        responses = await asyncio.gather(*(pool.post(0, "hi") for _ in range(8)))
        assert [response.kind for response in responses] == [None] * 8
        assert responses[-1].queue_seconds > 0.5


# ------------------------------------------------------------------------------------------------------------ failures


async def test_a_refused_connection_is_of_kind_connect() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and everybody is refused
        async with AgentPool([("127.0.0.1", taken.getsockname()[1])]) as pool:
            response = await pool.post(0, "hi")
            assert (response.kind, response.status) == (FailureKind.CONNECT, None)
            assert (response.connection, response.attempts) == (None, 1)
            assert "Connect call failed" in (response.error or "")


async def test_a_name_without_an_address_is_of_kind_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with AgentPool([("nobody.example", 80)]) as pool:
        response = await pool.post(0, "hi")
        assert response.kind is FailureKind.DNS
        assert "nobody.example" in (response.error or "")


async def test_a_fin_instead_of_an_answer_is_of_kind_disconnected() -> None:
    assert (await the_kind(writes_and("close"))).kind is FailureKind.DISCONNECTED


async def test_a_fin_inside_the_head_is_of_kind_disconnected() -> None:
    assert (await the_kind(writes_and("close", b"HTTP/1.1 200 OK\r\ncont"))).kind is FailureKind.DISCONNECTED


async def test_a_reset_instead_of_an_answer_is_of_kind_reset() -> None:
    assert (await the_kind(writes_and("reset"))).kind is FailureKind.RESET


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("begun", [http(b"half", length=8), CHUNKED + b"8\r\nhalf"], ids=["length", "chunked"])
async def test_a_body_that_is_cut_is_of_kind_truncated(end: str, begun: bytes) -> None:
    response = await the_kind(writes_and(end, begun))
    assert (response.kind, response.status) == (FailureKind.TRUNCATED, 200)


@pytest.mark.parametrize(
    "noise",
    [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n", CHUNKED + b"five\r\nhello\r\n0\r\n\r\n"],
    ids=["another protocol", "a status in words", "a chunk of no size"],
)
async def test_bytes_that_are_not_http_are_of_kind_protocol(noise: bytes) -> None:
    assert (await the_kind(writes(noise))).kind is FailureKind.PROTOCOL


async def test_a_body_that_stops_being_http_in_a_later_segment_fails_at_once() -> None:
    """aiohttp tells its reader nothing then, who would wait for the whole time limit, or for ever without one."""

    def respond(connection: RawConnection) -> None:
        connection.write(CHUNKED, b"5\r\nhello\r\n")
        asyncio.get_running_loop().call_later(0.01, connection.write, b"five\r\n")

    response = await the_kind(respond, timeout=None)
    assert (response.kind, response.status) == (FailureKind.PROTOCOL, 200)
    assert "not HTTP" in (response.error or "")


async def test_a_body_in_an_encoding_that_breaks_is_a_failure() -> None:
    response = await the_kind(writes(http(b"this was never compressed", "content-encoding: gzip")))
    assert response.kind in {FailureKind.TRUNCATED, FailureKind.PROTOCOL}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"no such model","type":"NotFoundError","param":null,"code":404}}', "no such model"),
        (b'{"error":"slow down"}', "slow down"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b"upstream is away", "upstream is away"),
        (b'{"object":"error","message":"in the old way","code":400}', "in the old way"),
        (b"", "empty body"),
    ],
)
async def test_the_message_of_any_error_body_is_found(body: bytes, message: str) -> None:
    response = await the_kind(writes(http(body, status="404 Not Found")))
    assert (response.kind, response.status, response.error) == (FailureKind.STATUS, 404, f"status 404: {message}")


async def test_an_error_body_of_any_depth_is_an_error_all_the_same() -> None:
    response = await the_kind(writes(http(b"[" * 200_000, status="500 Internal Server Error")))
    assert (response.kind, response.status) == (FailureKind.STATUS, 500)


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"answer":"hello"}', b'{"response":7}', b"", b"\xff\xfe", b"[" * 200_000]
)
async def test_a_200_of_another_shape_is_of_kind_shape(body: bytes) -> None:
    """A 500 or an HTML page with status 200 used to be a success with an empty text (Aurora-Swarm)."""
    response = await the_kind(writes(http(body)))
    assert (response.kind, response.status, response.text) == (FailureKind.SHAPE, 200, "")


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", http(b"half", length=8)], ids=["no", "head", "body"])
async def test_no_whole_answer_in_time_is_of_kind_timeout(begun: bytes) -> None:
    response = await the_kind(writes(begun), timeout=0.1)
    assert response.kind is FailureKind.TIMEOUT
    assert response.wire_seconds >= 0.1
    assert "no whole answer" in (response.error or "")


async def test_a_connection_that_is_cut_is_not_used_again() -> None:
    async with answering(writes(http(b"half", length=8)), timeout=0.05) as (agent, pool):
        assert (await pool.post(0, "hi")).kind is FailureKind.TIMEOUT
        await agent.connections[0].lost.wait()
        agent.respond = writes(says())
        assert (await pool.post(0, "hi")).connection == "new"


async def test_unwrap_raises_what_failed() -> None:
    async with answering(writes(http(b'{"error":"slow down"}', status="429 Too Many Requests"))) as (_, pool):
        response = await pool.post(0, "hi")
        with pytest.raises(RequestFailed, match="status: status 429: slow down") as caught:
            response.unwrap()
        assert caught.value.response is response


# ------------------------------------------------------------------------------------------------------- cancellation


@pytest.mark.parametrize("begun", [b"", http(b"half", length=8)], ids=["waiting for the head", "reading the body"])
async def test_a_cancelled_request_ends_its_connection_and_hands_its_slot_on(begun: bytes) -> None:
    async with answering(writes(begun), concurrency=1) as (agent, pool):
        request = asyncio.create_task(pool.post(0, "cancelled"))
        waiting = asyncio.create_task(pool.post(0, "next"))
        await eventually(lambda: agent.requests)
        request.cancel()
        await agent.connections[0].lost.wait()
        await eventually(lambda: len(agent.requests) == 2)
        agent.connections[1].write(b"" if begun else says("mine"))
        if begun:
            agent.connections[1].write(b"more")
        response = await waiting
        assert response.attempts == 1
        assert request.cancelled()
        assert pool.statistics().requests.cancelled == 1


async def test_a_request_needs_no_task_of_its_own_to_be_limited() -> None:
    """The caller may have a time limit of its own around ours; whichever comes first is told apart from the other."""
    async with answering(writes(b""), timeout=0.05) as (_, pool):
        async with asyncio.timeout(30):
            assert (await pool.post(0, "hi")).kind is FailureKind.TIMEOUT
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await pool.post(0, "hi")


# ------------------------------------------------------------------------------------------------------- any old bytes


def mutated(chance: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes changed, left out, doubled, or cut off."""
    broken = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(broken))
        match chance.randrange(4):
            case 0:
                broken[place] = chance.randrange(256)
            case 1:
                del broken[place : place + chance.randint(1, 5)]
            case 2:
                broken[place:place] = broken[place : place + chance.randint(1, 20)]
            case 3:
                del broken[place:]
        broken = broken or bytearray(b"x")
    return bytes(broken)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_server_writes_is_a_result(seed: int) -> None:
    """Nothing that comes over the wire may be raised at the caller, nor hold a slot or a socket."""
    chance = random.Random(seed)
    good = [
        says("hello"),
        CHUNKED + b'16\r\n{"response": "hello"}\n\r\n0\r\n\r\n',
        http(gzip.compress(b'{"response":"hello"}'), "content-encoding: gzip", "content-type: text/event-stream"),
        sse_head() + chunk('{"text":"a"}') + chunk('{"text":"b","finish_reason":"stop"}', "[DONE]") + b"0\r\n\r\n",
    ]

    def respond(connection: RawConnection) -> None:
        connection.write(mutated(chance, chance.choice(good)))
        connection.close()

    async with answering(respond, timeout=20) as (_, pool):
        for number in range(100):
            response = await (pool.stream(0, "hi") if number % 2 else pool.post(0, "hi"))
            assert isinstance(response, Response)
            assert response.success == (response.kind is None)
        await eventually(lambda: pool.statistics().connections.open == 0)
        assert pool.statistics().admission.in_flight == 0
        assert pool.statistics().requests.succeeded + pool.statistics().requests.failed == 100
