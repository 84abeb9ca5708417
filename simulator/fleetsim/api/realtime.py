"""`/v1/realtime`, the websocket of vLLM 0.33 (entrypoints/speech_to_text/realtime/{connection,protocol}.py).

The client names the model (`session.update`), says that audio is on its way (`input_audio_buffer.commit`), sends it
(`input_audio_buffer.append`, base64 of 16-bit samples, 16,000 a second); one more commit, a `final` one, ends it.
The server says `session.created` first, then a `transcription.delta` for each token, `transcription.done` at the end;
mistakes are `error` events, and the session goes on. Nobody listens to the audio: every 80 ms of it, as in Voxtral
Realtime, are one token of words chosen by (seed, first audio), each piece of audio being one job for the engine.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
from typing import Any

import msgspec

from fleetsim.api.refusals import halted
from fleetsim.api.served import Server, now
from fleetsim.engine import AbortedError, EngineDeadError, EngineHaltedError, Job
from fleetsim.errors import WebSocketClosedError
from fleetsim.exchange import ApiRequest, WebSocket, WebSocketEnd
from fleetsim.text import Passage

__all__ = ["AUDIO_BYTES_PER_TOKEN", "realtime"]

AUDIO_BYTES_PER_TOKEN = 2 * 16_000 * 80 // 1_000

# VLLM_MAX_AUDIO_CLIP_FILESIZE_MB, which vLLM compares with the number of samples.
_MOST_SAMPLES = 25 * 1024**2
_UNVALIDATED = "Model not validated. Make sure to validate the model by sending a session.update event."
# What pydantic takes for a boolean, in its lax mode.
_BOOLEANS: dict[object, bool] = dict.fromkeys((1, "1", "true", "t", "yes", "y", "on"), True)
_BOOLEANS |= dict.fromkeys((0, "0", "false", "f", "no", "n", "off"), False)


class _SessionCreated(msgspec.Struct, kw_only=True):
    type: str = "session.created"
    id: str
    created: int


class _Delta(msgspec.Struct, kw_only=True):
    type: str = "transcription.delta"
    delta: str


class _Usage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    prompt_tokens_details: None = None
    completion_tokens_details: None = None


class _Done(msgspec.Struct, kw_only=True):
    type: str = "transcription.done"
    text: str
    usage: _Usage


class _Error(msgspec.Struct, kw_only=True):
    type: str = "error"
    error: str
    code: str


class _MistakeError(Exception):
    """What the client sent is answered with an `error` event."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.message, self.code = message, code


async def realtime(server: Server, request: ApiRequest) -> WebSocket:  # noqa: ARG001 (every route takes both)
    """Grant a session of transcription."""

    async def talk(end: WebSocketEnd) -> None:
        await _Session(server, end).run()

    return WebSocket(talk)


class _Session:
    def __init__(self, server: Server, end: WebSocketEnd) -> None:
        self._server, self._end = server, end
        self._audio: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._is_validated = False
        self._generation: asyncio.Task[None] | None = None

    async def run(self) -> None:
        await self._say(_SessionCreated(id=f"sess-{self._server.new_id()}", created=now()))
        try:
            async for message in self._end:
                if isinstance(message, bytes):
                    return  # vLLM finds no text in it and gives up, without a closing handshake
                await self._answer(message)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        if self._generation is not None:
            self._generation.cancel()
            await asyncio.wait([self._generation])

    async def _say(self, event: msgspec.Struct) -> None:
        await self._end.send(msgspec.json.encode(event).decode())

    async def _answer(self, message: str) -> None:
        try:
            self._take(_event(message))
        except _MistakeError as mistake:
            await self._say(_Error(error=mistake.message, code=mistake.code))

    def _take(self, event: dict[str, Any]) -> None:
        kind = event.get("type")
        if kind == "session.update":
            self._validate(event.get("model"))
        elif kind == "input_audio_buffer.append":
            self._audio.put_nowait(_decoded(_audio(event)))
        elif kind == "input_audio_buffer.commit":
            self._commit(event)
        else:
            raise _MistakeError(f"Unknown event type: {kind}", "unknown_event")

    def _validate(self, model: object) -> None:
        if model is None:
            raise _MistakeError("Missing required field: model", "invalid_event")
        if model not in ("", self._server.served.profile.model):
            raise _MistakeError(f"The model `{model}` does not exist.", "model_not_found")
        self._is_validated = True

    def _commit(self, event: dict[str, Any]) -> None:
        if not self._is_validated:
            raise _MistakeError(_UNVALIDATED, "model_not_validated")
        if _is_final(event):
            self._audio.put_nowait(None)
        elif self._generation is None or self._generation.done():
            self._generation = asyncio.get_running_loop().create_task(self._generate())

    async def _generate(self) -> None:
        with contextlib.suppress(WebSocketClosedError):
            try:
                await self._transcribe()
            except EngineHaltedError as reason:
                await self._say(_Error(error=_told(reason), code="processing_error"))
                return
            while not self._audio.empty():  # the rest of this utterance is not the beginning of the next
                self._audio.get_nowait()

    async def _transcribe(self) -> None:
        passage: Passage | None = None
        said: list[str] = []
        heard = prompt_tokens = 0
        while (audio := await self._audio.get()) is not None:
            heard += len(audio)
            passage = passage or self._words_for(audio)
            due = heard // AUDIO_BYTES_PER_TOKEN - len(said)
            prompt_tokens = prompt_tokens or due
            try:
                await self._say_tokens(passage.corpus.pieces(passage.start + len(said), due), said)
            except AbortedError:
                break
        usage = _Usage(prompt_tokens, prompt_tokens + len(said), len(said))
        await self._say(_Done(text="".join(said), usage=usage))

    def _words_for(self, audio: bytes) -> Passage:
        return self._server.served.corpus.choose(b"%d\0%b" % (self._server.seed, audio), 0)

    async def _say_tokens(self, pieces: list[str], said: list[str]) -> None:
        """Say one delta a token as the engine makes it, and add it to `said`."""
        if not pieces:
            return
        left = iter(pieces)
        async for batch in self._server.engine.generate([Job(len(pieces), len(pieces))]):
            for _ in batch:
                piece = next(left)
                said.append(piece if said else piece.removeprefix(" "))
                await self._say(_Delta(delta=said[-1]))


def _event(message: str) -> dict[str, Any]:
    try:
        event = json.loads(message)
    except json.JSONDecodeError as error:
        raise _MistakeError("Invalid JSON", "invalid_json") from error
    except RecursionError as error:
        raise _MistakeError(str(error), "processing_error") from error
    if not isinstance(event, dict):
        raise _MistakeError(f"{type(event).__name__!r} object has no attribute 'get'", "processing_error")
    return event


def _audio(event: dict[str, Any]) -> str:
    if "audio" not in event:
        raise _invalid("InputAudioBufferAppend", "audio", "Field required")
    audio = event["audio"]
    if not isinstance(audio, str):
        raise _invalid("InputAudioBufferAppend", "audio", "Input should be a valid string")
    return audio


def _decoded(audio: str) -> bytes:
    try:
        data = base64.b64decode(audio)
    except (binascii.Error, ValueError) as error:
        raise _MistakeError("Invalid audio data", "invalid_audio") from error
    if not data or len(data) % 2 or len(data) // 2 > _MOST_SAMPLES:
        raise _MistakeError("Invalid audio data", "invalid_audio")
    return data


def _is_final(event: dict[str, Any]) -> bool:
    final = event.get("final", False)
    written = final.lower() if isinstance(final, str) else final
    try:
        return _BOOLEANS[written]
    except (KeyError, TypeError):
        raise _invalid("InputAudioBufferCommit", "final", "Input should be a valid boolean") from None


def _told(reason: EngineHaltedError) -> str:
    # The session says what the exception does, where vLLM's handlers of requests have words of their own
    # (v1/engine/exceptions.py).
    if isinstance(reason, EngineDeadError):
        return "EngineCore encountered an issue. See stack trace (above) for the root cause."
    return halted(reason).message


def _invalid(model: str, field: str, message: str) -> _MistakeError:
    # pydantic's words, without the value and the link that it adds.
    return _MistakeError(f"1 validation error for {model}\n{field}\n  {message}", "processing_error")
