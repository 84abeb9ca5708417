"""Streams against an agent of exact bytes: when they are whole, what ends them, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from raw_agent import RawAgent, RawConnection, chunk, eventually, http, says, sse_head

from swarmpool import AgentPool, FailureKind, PoolClosed, QueueTimeout, Stream, VLLMPool

LAST = b"0\r\n\r\n"
A, B = '{"text":"a"}', '{"text":"b"}'
FINISHED = '{"text":"","finish_reason":"stop"}'
DONE = "[DONE]"


def writes(*pieces: bytes) -> Callable[[RawConnection], None]:
    """Answer every request with these bytes at once."""
    return lambda connection: connection.write(*pieces)


@asynccontextmanager
async def streaming(*pieces: bytes, **options: Any) -> AsyncIterator[tuple[RawAgent, AgentPool]]:
    async with RawAgent(writes(sse_head(), *pieces)) as agent, AgentPool([agent.endpoint], **options) as pool:
        yield agent, pool


def figures(pool: AgentPool) -> tuple[int, int, int]:
    """Slots in use, sockets acquired, sockets open."""
    now = pool.statistics()
    return now.admission.in_flight, now.connections.acquired, now.connections.open


async def texts(stream: Stream) -> list[str]:
    return [each.text async for each in stream]


# ------------------------------------------------------------------------------------------------------ whole or not


async def test_a_stream_yields_text_with_its_times_and_ends_in_one_response() -> None:
    async with streaming(chunk(A), chunk(B), chunk(FINISHED), chunk(DONE), LAST) as (agent, pool):
        chunks = [each async for each in pool.stream(0, "hi")]
        assert [each.text for each in chunks] == ["a", "b", ""]
        assert [each.tokens for each in chunks] == [1, 1, 0]
        response = chunks[-1].response
        assert response is not None
        assert all(each.response is None for each in chunks[:-1])
        assert (response.success, response.text, response.finish_reason) == (True, "ab", "stop")
        assert (response.status, response.attempts, response.connection) == (200, 1, "new")
        assert response.first_token_seconds == pytest.approx(chunks[0].gap_seconds)
        assert 0 < chunks[0].gap_seconds <= response.wire_seconds
        assert agent.bodies == [{"prompt": "hi", "stream": True}]
        assert b"accept: text/event-stream" in agent.connections[0].heads[0].lower()


async def test_awaiting_a_stream_gives_its_response() -> None:
    async with streaming(chunk(A, DONE), LAST) as (_, pool):
        stream = pool.stream(0, "hi")
        response = await stream
        assert response.unwrap() == "a"
        assert stream.response is response
        assert await stream is response
        assert await texts(stream) == []


@pytest.mark.parametrize("end", [chunk(DONE), chunk(FINISHED), chunk(FINISHED, DONE)], ids=["done", "reason", "both"])
async def test_a_finish_reason_or_done_makes_it_whole(end: bytes) -> None:
    async with streaming(chunk(A), end, LAST) as (_, pool):
        assert (await pool.stream(0, "hi")).unwrap() == "a"


async def test_a_clean_end_with_neither_is_incomplete() -> None:
    """Several known clients count it as success."""
    async with streaming(chunk(A), LAST) as (agent, pool):
        response = await pool.stream(0, "hi")
        assert (response.kind, response.text, response.success) == (FailureKind.INCOMPLETE, "a", False)
        assert (await pool.stream(0, "hi")).connection == "reused"
        assert agent.opened == 1


@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_body_that_is_cut_is_truncated_and_what_came_is_kept(way: str) -> None:
    async with RawAgent() as agent, AgentPool([agent.endpoint]) as pool:
        agent.respond = writes(sse_head(), chunk(A))
        stream = pool.stream(0, "hi")
        assert (await anext(stream)).text == "a"
        getattr(agent.connections[0], way)()
        response = await stream
        assert (response.kind, response.text) == (FailureKind.TRUNCATED, "a")


async def test_what_the_connection_does_after_the_end_does_not_spoil_the_answer() -> None:
    async with streaming(chunk(A, DONE)) as (agent, pool):
        stream = pool.stream(0, "hi")
        assert (await anext(stream)).text == "a"
        agent.connections[0].reset()
        assert (await stream).success


async def test_an_error_event_fails_the_stream_with_the_servers_words() -> None:
    error = json.dumps({"error": {"message": "the engine died", "type": "InternalServerError", "code": 500}})
    async with streaming(chunk(A), chunk(error, DONE), LAST) as (_, pool):
        response = await pool.stream(0, "hi")
        assert (response.kind, response.error, response.text) == (FailureKind.STREAM_ERROR, "the engine died", "a")
        assert response.status == 200


async def test_an_event_that_is_no_json_is_of_kind_shape() -> None:
    async with streaming(chunk(A), chunk("what?"), LAST) as (_, pool):
        response = await pool.stream(0, "hi")
        assert response.kind is FailureKind.SHAPE
        assert "what?" in (response.error or "")


async def test_bytes_that_are_not_http_fail_the_stream_at_once() -> None:
    """aiohttp leaves the reader waiting until its time limit when the parser gives up in mid-body."""

    async with streaming(chunk(A)) as (agent, pool):
        stream = pool.stream(0, "hi")
        await anext(stream)
        agent.connections[0].write(b"this is no chunk\r\n")
        response = await stream
        assert response.kind is FailureKind.PROTOCOL


async def test_an_answer_that_is_no_stream_is_taken_whole() -> None:
    async with RawAgent(writes(says("all at once"))) as agent, AgentPool([agent.endpoint]) as pool:
        chunks = [each async for each in pool.stream(0, "hi")]
        assert [each.text for each in chunks] == ["all at once", ""]
        assert chunks[-1].response is not None
        assert chunks[-1].response.success
        assert (await pool.stream(0, "hi")).connection == "reused"


async def test_an_answer_of_another_status_is_a_failure_with_the_servers_words() -> None:
    refusal = http(b'{"error":"slow down"}', status="429 Too Many Requests")
    async with RawAgent(writes(refusal)) as agent, AgentPool([agent.endpoint]) as pool:
        response = await pool.stream(0, "hi")
        assert (response.kind, response.status) == (FailureKind.STATUS, 429)
        assert response.error == "status 429: slow down"


async def test_a_200_that_is_neither_stream_nor_answer_is_of_kind_shape() -> None:
    async with RawAgent(writes(http(b"<html>"))) as agent, AgentPool([agent.endpoint]) as pool:
        assert (await pool.stream(0, "hi")).kind is FailureKind.SHAPE


async def test_a_chat_stream_counts_tokens_as_the_server_does() -> None:
    def delta(content: str, tokens: int, reason: str | None = None) -> str:
        choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason}
        usage = {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}
        return json.dumps({"choices": [choice], "usage": usage})

    pieces = (chunk(delta("one two", 2)), chunk(delta(" three", 3, "length")), chunk(DONE), LAST)
    async with RawAgent(writes(sse_head(), *pieces)) as agent, VLLMPool([agent.endpoint], model="sim") as pool:
        chunks = [each async for each in pool.stream(0, "hi", max_tokens=3)]
        assert [each.tokens for each in chunks] == [2, 1, 0]
        response = chunks[-1].response
        assert response is not None
        assert response.usage is not None
        assert (response.usage.completion_tokens, response.finish_reason) == (3, "length")
        assert agent.bodies[0]["stream"] is True
        assert agent.bodies[0]["stream_options"] == {"include_usage": True}


# ------------------------------------------------------------------------------------------- the way back to the pool


async def test_a_terminator_that_comes_late_does_not_cost_the_connection() -> None:
    """aiohttp closes a connection whose body is left before its EOF: without a drain each stream would dial anew."""

    def respond(connection: RawConnection) -> None:
        connection.write(sse_head(), chunk(A, DONE))
        asyncio.get_running_loop().call_later(0.005, connection.write, LAST)

    async with RawAgent(respond) as agent, AgentPool([agent.endpoint]) as pool:
        responses = [await pool.stream(0, "hi") for _ in range(4)]
        assert [response.connection for response in responses] == ["new", "reused", "reused", "reused"]
        assert agent.opened == 1


async def test_a_terminator_that_never_comes_costs_the_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmpool.streaming._DRAIN_SECONDS", 0.02)
    async with streaming(chunk(A, DONE)) as (agent, pool):
        assert (await pool.stream(0, "hi")).unwrap() == "a"
        assert figures(pool)[:2] == (0, 0)
        await agent.connections[0].lost.wait()


async def test_the_last_text_is_there_before_the_terminator() -> None:
    """The drain used to hold it back, for up to a second."""
    async with streaming(chunk(A, B, FINISHED, DONE)) as (agent, pool):
        stream = pool.stream(0, "hi")
        assert [(await anext(stream)).text for _ in range(2)] == ["a", "b"]
        assert stream.response is None
        agent.connections[0].write(LAST)
        assert (await stream).connection == "new"
        agent.respond = writes(sse_head(), chunk(DONE), LAST)
        assert (await pool.stream(0, "hi")).connection == "reused"


# ---------------------------------------------------------------------------------------------------------- time limits


async def test_the_idle_gap_has_its_own_limit_and_kind() -> None:
    async with streaming(chunk(A)) as (agent, pool):
        response = await pool.stream(0, "hi", idle_timeout=0.05)
        assert (response.kind, response.text) == (FailureKind.IDLE_TIMEOUT, "a")
        await agent.connections[0].lost.wait()


async def test_pieces_that_keep_coming_never_run_into_the_idle_limit() -> None:
    def respond(connection: RawConnection) -> None:
        connection.write(sse_head())
        for number in range(10):
            later(0.01 * number, connection.write, chunk(A))
        later(0.1, connection.write, chunk(DONE) + LAST)

    later = asyncio.get_running_loop().call_later
    async with RawAgent(respond) as agent, AgentPool([agent.endpoint]) as pool:
        response = await pool.stream(0, "hi", idle_timeout=5)
        assert response.unwrap() == "a" * 10


async def test_the_total_limit_ends_a_stream_that_keeps_talking() -> None:
    async def talk(connection: RawConnection) -> None:
        connection.write(sse_head())
        while not connection.lost.is_set():
            connection.write(chunk(A))
            await asyncio.sleep(0.005)

    talkers: list[asyncio.Task[None]] = []

    def respond(connection: RawConnection) -> None:
        talkers.append(asyncio.create_task(talk(connection)))

    async with RawAgent(respond) as agent, AgentPool([agent.endpoint], timeout=60) as pool:
        response = await pool.stream(0, "hi", timeout=0.1, idle_timeout=50)
        assert response.kind is FailureKind.TIMEOUT
        assert response.text.startswith("aa")
        await asyncio.gather(*talkers)


async def test_a_reader_that_takes_its_time_between_pieces_is_not_idle() -> None:
    async with streaming(chunk(A), chunk(DONE), LAST) as (_, pool):
        stream = pool.stream(0, "hi", idle_timeout=0.05)
        await anext(stream)
        await asyncio.sleep(0.1)
        assert (await stream).success


@pytest.mark.parametrize("name", ["timeout", "idle_timeout"])
async def test_a_limit_that_cannot_be_is_refused_before_anything_is_sent(name: str) -> None:
    async with streaming() as (agent, pool):
        make: Callable[..., object] = pool.stream
        with pytest.raises(ValueError, match=f"{name} must be a number of seconds above 0, not 0"):
            make(0, "hi", **{name: 0})
        assert agent.requests == []


# -------------------------------------------------------------------------------------------------- admission and close


async def test_admission_raises_at_the_first_read() -> None:
    async with streaming(chunk(A), concurrency=1, queue_timeout=0.02) as (_, pool):
        first = pool.stream(0, "hi")
        await anext(first)
        with pytest.raises(QueueTimeout):
            await anext(pool.stream(0, "hi"))
        await first.aclose()


async def test_a_stream_made_before_the_close_and_read_after_it_raises() -> None:
    async with streaming(chunk(A)) as (_, pool):
        stream = pool.stream(0, "hi")
        await pool.close()
        with pytest.raises(PoolClosed):
            await anext(stream)


async def test_the_pool_may_close_while_a_stream_is_open_and_nobody_reads() -> None:
    async with streaming(chunk(A)) as (agent, pool):
        stream = pool.stream(0, "hi")
        await anext(stream)
        await pool.close(drain=0)
        assert pool.statistics().connections.open == 0
        await agent.connections[0].lost.wait()
        chunks = [each async for each in stream]
        assert len(chunks) == 1
        assert chunks[0].response is not None
        assert (chunks[0].response.kind, chunks[0].response.text) == (FailureKind.CLOSED, "a")


@pytest.mark.parametrize("head", [sse_head(), b""], ids=["reading the body", "waiting for the head"])
async def test_the_pool_may_close_while_somebody_reads(head: bytes) -> None:
    async with RawAgent(writes(head)) as agent, AgentPool([agent.endpoint]) as pool:
        reader = asyncio.create_task(texts(stream := pool.stream(0, "hi")))
        await eventually(lambda: agent.requests)
        await pool.close(drain=0)
        assert await reader == [""]
        assert reader.cancelling() == 0
        assert stream.response is not None
        assert stream.response.kind is FailureKind.CLOSED


async def test_a_whole_stream_whose_last_chunk_is_not_read_yet_survives_the_close() -> None:
    async with streaming(chunk(A, DONE)) as (_, pool):
        stream = pool.stream(0, "hi")
        await anext(stream)
        await pool.close(drain=0)
        assert (await stream).unwrap() == "a"


# ------------------------------------------------------------------------------------------------ tools, probabilities


def delta(choice: dict[str, Any], **more: Any) -> bytes:
    return chunk(json.dumps({"choices": [{"index": 0, "delta": choice, **more}]}))


async def test_tool_calls_come_in_pieces_and_are_whole_in_the_response() -> None:
    pieces = [
        delta({"role": "assistant", "content": None}),
        delta(
            {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]}
        ),
        delta({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}),
        delta({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        delta({}, finish_reason="tool_calls"),
    ]
    async with (
        RawAgent(writes(sse_head(), *pieces, chunk(DONE), LAST)) as agent,
        VLLMPool([agent.endpoint], "sim", 5, model_max_context=100) as pool,
    ):
        chunks = [each async for each in pool.stream(0, "hi")]
    assert [each.text for each in chunks] == [""] * 4
    assert [len(each.tool_calls or ()) for each in chunks] == [1, 1, 1, 0]
    response = chunks[-1].response
    assert response is not None
    assert (response.success, response.text, response.finish_reason) == (True, "", "tool_calls")
    assert response.tool_calls == [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}]


async def test_probabilities_are_in_the_chunks_and_the_response() -> None:
    said = {"content": [{"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}]}
    pieces = [delta({"content": "a"}, logprobs=said), delta({}, finish_reason="stop")]
    async with (
        RawAgent(writes(sse_head(), *pieces, chunk(DONE), LAST)) as agent,
        VLLMPool([agent.endpoint], "sim", 5, model_max_context=100) as pool,
    ):
        chunks = [each async for each in pool.stream(0, "hi")]
    assert chunks[0].logprobs == said
    assert chunks[-1].response is not None
    assert chunks[-1].response.logprobs == [said]


async def test_probabilities_of_a_token_without_text_are_not_lost() -> None:
    """A token may be a part of a character: its text comes with the next."""
    part, rest = [{"content": [{"token": token, "logprob": -0.1}]} for token in ("part", "rest")]
    pieces = [
        delta({"content": ""}, logprobs=part),
        delta({"content": "é"}, logprobs=rest),
        delta({}, finish_reason="stop"),
    ]
    async with (
        RawAgent(writes(sse_head(), *pieces, chunk(DONE), LAST)) as agent,
        VLLMPool([agent.endpoint], "sim", 5, model_max_context=100) as pool,
    ):
        chunks = [each async for each in pool.stream(0, "hi")]
    assert [(each.text, each.logprobs) for each in chunks] == [("", part), ("é", rest), ("", None)]
    assert chunks[-1].response is not None
    assert chunks[-1].response.logprobs == [part, rest]


async def test_a_whole_answer_has_its_tool_calls_and_probabilities_too() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": {"content": []}}]}
    async with (
        RawAgent(writes(http(json.dumps(body).encode()))) as agent,
        VLLMPool([agent.endpoint], "sim", 5, model_max_context=100) as pool,
    ):
        response = await pool.post(0, "hi")
    assert (response.success, response.text, response.tool_calls) == (True, "", [call])
    assert response.logprobs == {"content": []}
