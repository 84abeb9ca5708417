from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from raw_http import Peer
from raw_websocket import masked, upgrade, websocket

from fleetsim import Fleet, Profile
from fleetsim.api.realtime import AUDIO_BYTES_PER_TOKEN

COMMIT = {"type": "input_audio_buffer.commit"}
FINAL = COMMIT | {"final": True}
UPDATE = {"type": "session.update", "model": "sim"}


def audio(tokens: float, sample: bytes = b"\x01\x02") -> dict[str, str]:
    data = sample * (int(AUDIO_BYTES_PER_TOKEN * tokens) // 2)
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(data).decode()}


class Client:
    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def say(self, *events: object) -> None:
        for event in events:
            await self.ws.send_str(event if isinstance(event, str) else json.dumps(event))

    async def hear(self) -> dict[str, Any]:
        event = json.loads(await self.ws.receive_str(timeout=10))
        assert isinstance(event, dict)
        return event

    async def until_done(self) -> list[dict[str, Any]]:
        events = [await self.hear()]
        while events[-1]["type"] != "transcription.done":
            events.append(await self.hear())
        return events


@asynccontextmanager
async def session(fleet: Fleet) -> AsyncIterator[Client]:
    """A client that has heard `session.created`."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{fleet[0].url}/v1/realtime") as ws:
        client = Client(ws)
        assert (await client.hear())["type"] == "session.created"
        yield client


async def test_a_session_begins_with_its_id_as_vllm_writes_it() -> None:
    async with Fleet(1, seed=3) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(upgrade("/v1/realtime"))
        await peer.until(b"\r\n\r\n")
        said = await peer.until(b"}")
        assert said.startswith(b'\x81\x5c{"type":"session.created","id":"sess-')
        event = json.loads(said[2:])
        assert list(event) == ["type", "id", "created"]
        assert len(event["id"]) == len("sess-") + 32


async def test_audio_becomes_one_delta_a_token_and_then_the_whole() -> None:
    async with Fleet(1) as fleet, session(fleet) as client:
        await client.say(UPDATE, COMMIT, audio(2.5), audio(0.4), audio(0.1), audio(3), FINAL)
        *deltas, done = await client.until_done()
    assert [list(delta) for delta in deltas] == [["type", "delta"]] * 6
    assert {delta["type"] for delta in deltas} == {"transcription.delta"}
    assert done["text"] == "".join(delta["delta"] for delta in deltas)
    assert list(done) == ["type", "text", "usage"]
    assert list(done["usage"].items()) == [
        ("prompt_tokens", 2),
        ("total_tokens", 8),
        ("completion_tokens", 6),
        ("prompt_tokens_details", None),
        ("completion_tokens_details", None),
    ]


async def test_the_same_audio_and_seed_say_the_same_and_others_something_else() -> None:
    async def said(seed: int, sample: bytes = b"\x01\x02") -> str:
        async with Fleet(1, seed=seed) as fleet, session(fleet) as client:
            await client.say(UPDATE, COMMIT, audio(8, sample), FINAL)
            return str((await client.until_done())[-1]["text"])

    assert await said(1) == await said(1)
    assert len({await said(1), await said(2), await said(1, b"\x03\x04")}) == 3


async def test_a_session_takes_one_utterance_after_the_other() -> None:
    async with Fleet(1) as fleet, session(fleet) as client:
        await client.say(UPDATE)
        for _ in range(2):
            await client.say(COMMIT, audio(2), FINAL)
            assert (await client.until_done())[-1]["usage"]["completion_tokens"] == 2


async def test_deltas_come_while_audio_is_still_sent() -> None:
    async with Fleet(1) as fleet, session(fleet) as client:
        await client.say(UPDATE, audio(1), COMMIT, COMMIT)
        assert (await client.hear())["type"] == "transcription.delta"
        await client.say(audio(1))
        assert (await client.hear())["type"] == "transcription.delta"
        await client.say(FINAL)
        assert (await client.hear())["type"] == "transcription.done"


async def test_an_utterance_without_audio_is_empty() -> None:
    async with Fleet(1) as fleet, session(fleet) as client:
        await client.say(UPDATE, COMMIT, FINAL)
        (done,) = await client.until_done()
        assert (done["text"], done["usage"]["total_tokens"]) == ("", 0)


@pytest.mark.parametrize(
    ("said", "error", "code"),
    [
        ("{", "Invalid JSON", "invalid_json"),
        ("[]", "'list' object has no attribute 'get'", "processing_error"),
        ("[" * 100_000, "maximum recursion depth exceeded", "processing_error"),
        ({"type": "x"}, "Unknown event type: x", "unknown_event"),
        ({}, "Unknown event type: None", "unknown_event"),
        ({"type": "session.update"}, "Missing required field: model", "invalid_event"),
        ({"type": "session.update", "model": "no"}, "The model `no` does not exist.", "model_not_found"),
        (COMMIT, "Model not validated. Make sure to validate the model", "model_not_validated"),
        (FINAL, "Model not validated. Make sure to validate the model", "model_not_validated"),
        ({"type": "input_audio_buffer.append", "audio": "!"}, "Invalid audio data", "invalid_audio"),
        ({"type": "input_audio_buffer.append", "audio": "é"}, "Invalid audio data", "invalid_audio"),
        ({"type": "input_audio_buffer.append", "audio": "AAAAA"}, "Invalid audio data", "invalid_audio"),
        ({"type": "input_audio_buffer.append", "audio": "AA=="}, "Invalid audio data", "invalid_audio"),
        (
            {"type": "input_audio_buffer.append"},
            "1 validation error for InputAudioBufferAppend\naudio\n  Field required",
            "processing_error",
        ),
        (
            {"type": "input_audio_buffer.append", "audio": 5},
            "1 validation error for InputAudioBufferAppend\naudio\n  Input should be a valid string",
            "processing_error",
        ),
    ],
)
async def test_a_mistake_has_vllms_code_and_the_session_goes_on(said: object, error: str, code: str) -> None:
    async with Fleet(1) as fleet, session(fleet) as client:
        await client.say(said)
        event = await client.hear()
        assert list(event) == ["type", "error", "code"]
        assert (event["type"], event["code"]) == ("error", code)
        assert event["error"].startswith(error)
        await client.say(UPDATE, COMMIT, FINAL)
        assert (await client.hear())["type"] == "transcription.done"


@pytest.mark.parametrize(("final", "is_final"), [("yes", True), (1, True), ("FALSE", False), (0.0, False)])
async def test_final_is_read_as_pydantic_reads_booleans(final: object, is_final: bool) -> None:
    async with Fleet(1) as fleet, session(fleet) as client:
        await client.say(UPDATE, COMMIT, COMMIT | {"final": final}, {"type": "x"})
        heard = {(await client.hear())["type"] for _ in range(1 + is_final)}
        assert heard == ({"error", "transcription.done"} if is_final else {"error"})


@pytest.mark.parametrize("final", [None, "maybe", 2, []])
async def test_final_that_is_no_boolean_is_a_mistake(final: object) -> None:
    async with Fleet(1) as fleet, session(fleet) as client:
        await client.say(UPDATE, COMMIT | {"final": final})
        assert (await client.hear())["error"].startswith("1 validation error for InputAudioBufferCommit\nfinal\n")


async def test_binary_ends_the_session_without_a_closing_handshake() -> None:
    """vLLM reads text only, and its handler ends with a KeyError."""
    async with Fleet(1) as fleet, websocket(fleet[0].port, "/v1/realtime") as peer:
        await peer.until(b"}")
        await peer.send(masked(2, b"\x00"))
        assert await peer.to_the_end() == b""


async def test_a_client_that_goes_stops_its_generation() -> None:
    """The leak gate would see the task, and the timer of a token that is an hour away."""
    fleet = Fleet(1, profile=Profile(ttft=3_600.0))
    async with fleet, session(fleet) as client:
        await client.say(UPDATE, COMMIT, audio(1))
        await fleet.ledger.wait_for(messages_in=3)
        await client.ws.close()
        await fleet.ledger.wait_for(open_now=0, websockets_open=0)


async def test_the_key_guards_it() -> None:
    fleet = Fleet(1, profile=Profile(api_key="k"))
    async with fleet, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(f"{fleet[0].url}/v1/realtime")
        assert caught.value.status == 401
        async with http.ws_connect(f"{fleet[0].url}/v1/realtime", headers={"Authorization": "Bearer k"}) as ws:
            assert "session.created" in await ws.receive_str()


async def test_an_engine_that_dies_is_told_as_an_error_and_the_session_goes_on() -> None:
    async with Fleet(1, profile=Profile(itl=3_600.0)) as fleet, session(fleet) as client:
        await client.say(UPDATE, COMMIT, audio(2))
        assert (await client.hear())["type"] == "transcription.delta"
        async with fleet.fault("engine_death", exits=None):
            error = await client.hear()
            assert (error["code"], error["error"][:31]) == ("processing_error", "EngineCore encountered an issue")
            await client.say(COMMIT, audio(1))
            assert (await client.hear())["code"] == "processing_error"
        await client.say(COMMIT, audio(1), FINAL)
        assert [event["type"] for event in await client.until_done()] == ["transcription.delta", "transcription.done"]


async def test_an_engine_that_is_put_to_sleep_says_what_it_has_and_refuses_the_next() -> None:
    async with Fleet(1, profile=Profile(itl=3_600.0)) as fleet, session(fleet) as client:
        await client.say(UPDATE, COMMIT, audio(2))
        said = (await client.hear())["delta"]
        async with fleet.fault("sleep"):
            done = await client.hear()
            assert (done["type"], done["text"], done["usage"]["completion_tokens"]) == ("transcription.done", said, 1)
            await client.say(COMMIT, audio(1))
            assert (await client.hear())["error"] == "Generation is paused. Please retry after it resumes."
