"""Faults of a server whose process lives: it is slow, its engine is dead or asleep, its health is not what it says.

The words are vLLM 0.33's: entrypoints/serve/instrumentator/health.py and .../sagemaker for health,
entrypoints/serve/exception_handling/ and v1/engine/core.py for what requests are told.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from fleetsim.api.refusals import RefusalError, halted
from fleetsim.engine import EngineDeadError, Halt, PausedError
from fleetsim.exchange import Answer, ApiRequest, Reply, Unary, WebSocket
from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.kinds import Process, Standing, Undo
from fleetsim.faults.parameters import choice, count, duration, number
from fleetsim.faults.told import LATE, Told, either, failed

__all__ = ["BrownOut", "EngineDeath", "LyingHealth", "Sleep"]

_HEALTH = {"/health": ("GET",), "/ping": ("GET", "POST")}
_SEEN = "A response of that status; an error only if it is asked for (raise_for_status)."
_WELL, _UNWELL = Unary(HTTPStatus.OK, b"", None), Unary(HTTPStatus.SERVICE_UNAVAILABLE, b"", None)


@catalogued
@dataclass(frozen=True, slots=True)
class BrownOut(Standing):
    """All latencies are so many times as long; several at once multiply.

    A stream under way slows down from the gap behind its next token on, a unary answer under way keeps its time. A
    server without latencies, or with an answer of its own, stays as fast as it is.
    """

    name: ClassVar[str] = "brown_out"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = "The same bytes, later: first tokens and the gaps between tokens take so many times as long."
    aiohttp: ClassVar[str] = "A whole response, late; SocketTimeoutError if sock_read is shorter than a gap."
    httpx: ClassVar[str] = "A whole response, late; ReadTimeout if the read timeout is shorter than a gap."
    told: ClassVar[Told] = LATE
    factor: float = number(10.0, "times", "as long as by the profile; below 1 is faster")

    def begin(self, process: Process) -> Undo:
        return process.slow_down(self.factor)


@catalogued
@dataclass(frozen=True, slots=True)
class LyingHealth(Standing):
    """`/health` and `/ping` say the opposite of what is: 200 while all else fails, or 503 while all is well."""

    name: ClassVar[str] = "lying_health"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = "200 with an empty body from /health, an error from all else; or 503, and all else is well."
    aiohttp: ClassVar[str] = "Whole responses of these statuses."
    httpx: ClassVar[str] = "The same."
    told: ClassVar[Told] = either("status")
    says: str = choice("well", "what health says", "unwell")
    status: int = count(500, "HTTP status", "of all else while health says well, from 400 to 599", least=400, most=599)

    def begin(self, process: Process) -> Undo:
        return process.answer_through(self._says_well if self.says == "well" else self._says_unwell)

    def _says_well(self, honest: Answer) -> Answer:  # noqa: ARG002 (nobody is asked what is true)
        failure = _failure(self.status)

        async def answer(request: ApiRequest) -> Reply:
            return _WELL if _asks_for_health(request) else failure

        return answer

    def _says_unwell(self, honest: Answer) -> Answer:
        async def answer(request: ApiRequest) -> Reply | WebSocket:
            return _UNWELL if _asks_for_health(request) else await honest(request)

        return answer


@catalogued
@dataclass(frozen=True, slots=True)
class EngineDeath(Standing):
    """The engine crashes and the server lives on, for a while: requests fail with 500, and health says 503.

    Requests under way fail too, but those to an answer of one's own, which has no engine. When the rule is over the
    engine, or the whole server if that has gone by then, begins anew.
    """

    name: ClassVar[str] = "engine_death"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = (
        "A stream: an event with vLLM's error object, `data: [DONE]`, the last chunk. Else a whole 500; 503 with an "
        "empty body from /health. When the server exits: FIN, and RST in answer to SYN."
    )
    aiohttp: ClassVar[str] = "A response 500, or a whole stream with an error in it; ClientConnectorError at last."
    httpx: ClassVar[str] = "The same; ConnectError at last."
    told: ClassVar[Told] = failed("status", "connect", "disconnected", "reset")
    exits: float | None = duration(
        5.0,
        "until vLLM's watchdog ends the server; none: never (VLLM_KEEP_ALIVE_ON_ENGINE_DEATH)",
        or_none=True,
    )

    def begin(self, process: Process) -> Undo:
        undo = process.halt(Halt.DEAD, _dead)
        if self.exits is None:
            return undo
        stay = process.terminate_after(self.name, self.exits)

        async def heal() -> None:
            await undo()
            await stay()

        return heal


@catalogued
@dataclass(frozen=True, slots=True)
class Sleep(Standing):
    """The engine sleeps, as by vLLM's /sleep: requests under way end with `abort`, those that come are refused.

    /wake_up does not wake it before the rule is over. An answer of one's own finishes what is under way.
    """

    name: ClassVar[str] = "sleep"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = (
        'What has been said so far with finish_reason "abort" at status 200; then a whole 503 to each request. '
        "Health is well."
    )
    aiohttp: ClassVar[str] = _SEEN
    httpx: ClassVar[str] = _SEEN
    told: ClassVar[Told] = failed("status")

    def begin(self, process: Process) -> Undo:
        return process.halt(Halt.ASLEEP, _asleep)


def _dead(answer: Answer) -> Answer:  # noqa: ARG001 (nobody is asked)
    failure = halted(EngineDeadError()).reply()

    async def dead(request: ApiRequest) -> Reply:
        return _UNWELL if _asks_for_health(request) else failure

    return dead


def _asleep(answer: Answer) -> Answer:
    refusal = halted(PausedError()).reply()

    async def asleep(request: ApiRequest) -> Reply | WebSocket:
        return await answer(request) if _asks_for_health(request) else refusal

    return asleep


def _asks_for_health(request: ApiRequest) -> bool:
    return request.method in _HEALTH.get(request.path, ())


def _failure(status: int) -> Unary:
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return RefusalError(status, "InternalServerError", "Internal server error").reply()
    phrase = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Error"
    return RefusalError(status, phrase, phrase).reply()
