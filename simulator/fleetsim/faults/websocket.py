"""Faults of websockets. They strike requests for one, and no others.

So a server, or a gateway in front of it, ends a websocket, or stops answering on one that still stands. To ask for one,
name it on the request for the websocket; a rule takes such requests for its occasions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from fleetsim.exchange import Unary
from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.kinds import Delay, Handshaking, Status, Talking, Talks
from fleetsim.faults.parameters import count, duration
from fleetsim.faults.status import Unauthorized, Unavailable
from fleetsim.wire.handshake import accept_key

__all__ = [
    "FragmentedMessage",
    "HalfOpen",
    "IdleDeadline",
    "NoPong",
    "OversizedMessage",
    "RefuseUpgrade",
    "SessionDeadline",
    "SlowUpgrade",
    "WebSocketFin",
    "WebSocketRst",
    "WrongAccept",
]

# What a socket of aiohttp's client takes, `max_msg_size`.
_AIOHTTPS_MOST = 4 * 1024 * 1024
_NO_WEBSOCKETS = "httpx has no websockets."


@catalogued
@dataclass(frozen=True, slots=True)
class RefuseUpgrade(Status):
    """The websocket is refused: 401 and 503 in vLLM's words, 403 as for a route that is not there."""

    name: ClassVar[str] = "refuse_upgrade"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "A whole response of that status with `Connection: close`, then FIN."
    aiohttp: ClassVar[str] = "WSServerHandshakeError with that status."
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    status: int = count(403, "HTTP status", "from 400 to 599", least=400, most=599)

    def reply(self) -> Unary:
        if self.status == HTTPStatus.UNAUTHORIZED:
            return Unauthorized().reply()
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return Unavailable().reply()
        return Unary(self.status, b"", "text/plain; charset=utf-8")


@catalogued
@dataclass(frozen=True, slots=True)
class SlowUpgrade(Delay):
    """The handshake's answer is late."""

    name: ClassVar[str] = "slow_upgrade"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "Silence, then the 101."
    aiohttp: ClassVar[str] = (
        "ws_connect returns late; sock_read or total, if shorter, raise SocketTimeoutError or TimeoutError."
    )
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    seconds: float = duration(1.0, "before the handshake's answer")

    async def wait(self) -> None:
        await asyncio.sleep(self.seconds)


@catalogued
@dataclass(frozen=True, slots=True)
class WrongAccept(Talking):
    """The handshake is answered with the key of another one, and the websocket is served all the same."""

    name: ClassVar[str] = "wrong_accept"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "A 101 whose Sec-WebSocket-Accept does not belong to the Sec-WebSocket-Key."
    aiohttp: ClassVar[str] = "WSServerHandshakeError 101: invalid challenge response."
    httpx: ClassVar[str] = _NO_WEBSOCKETS

    def prepare(self, handshake: Handshaking) -> None:
        handshake.accept = accept_key(handshake.accept)


@catalogued
@dataclass(frozen=True, slots=True)
class SessionDeadline(Talking):
    """The server closes when the session is so old, whatever goes on."""

    name: ClassVar[str] = "session_deadline"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "A close frame with that code; FIN when it has been answered, or 10 s later."
    aiohttp: ClassVar[str] = (
        "receive() returns CLOSE with that code. Idle, nothing tells: `closed` is False and a send succeeds."
    )
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    seconds: float = duration(1.0, "from the handshake to the close frame")
    code: int = count(1001, "close code", "of the close frame", least=1000, most=4999)

    def begin(self, talks: Talks) -> None:
        talks.later(self.seconds, lambda: talks.begin_close(self.code))


@catalogued
@dataclass(frozen=True, slots=True)
class IdleDeadline(Talking):
    """The server closes when so long no message of the client's has come; pings and pongs are no messages."""

    name: ClassVar[str] = "idle_deadline"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "A close frame with that code; FIN when it has been answered, or 10 s later."
    aiohttp: ClassVar[str] = "As `session_deadline`."
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    seconds: float = duration(1.0, "from the handshake, or the client's last message, to the close frame")
    code: int = count(1001, "close code", "of the close frame", least=1000, most=4999)

    def begin(self, talks: Talks) -> None:
        talks.when_idle(self.seconds, lambda: talks.begin_close(self.code))


@catalogued
@dataclass(frozen=True, slots=True)
class WebSocketFin(Talking):
    """FIN without a closing handshake."""

    name: ClassVar[str] = "websocket_fin"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "FIN without a close frame, in place of an answer, or behind the handshake."
    aiohttp: ClassVar[str] = (
        "receive() returns CLOSED, the code is 1006. Idle, `closed` stays False, and a send raises "
        "ClientConnectionResetError."
    )
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    at: int = count(1, "number", "of the client's message that it comes in place of an answer to; 0: the handshake")
    seconds: float = duration(0.0, "from there to the FIN")

    def begin(self, talks: Talks) -> None:
        talks.at_message(self.at, lambda: talks.later(self.seconds, talks.drop_fin))


@catalogued
@dataclass(frozen=True, slots=True)
class WebSocketRst(Talking):
    """RST without a closing handshake. What the client's kernel has not taken by then is lost."""

    name: ClassVar[str] = "websocket_rst"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "RST (SO_LINGER 0), in place of an answer, or behind the handshake."
    aiohttp: ClassVar[str] = "As `websocket_fin`: by type it cannot be told from a FIN."
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    at: int = count(1, "number", "of the client's message that it comes in place of an answer to; 0: the handshake")
    seconds: float = duration(0.0, "from there to the RST")

    def begin(self, talks: Talks) -> None:
        talks.at_message(self.at, lambda: talks.later(self.seconds, talks.drop_rst))


@catalogued
@dataclass(frozen=True, slots=True)
class HalfOpen(Talking):
    """The connection stands and nothing is read or said: no message, no pong, no close. Its end is not noticed."""

    name: ClassVar[str] = "half_open"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "Silence; what the client sends stays in the server's kernel."
    aiohttp: ClassVar[str] = (
        "A wait: with `heartbeat` set, ERROR with ServerTimeoutError after one and a half of it; with ws_receive, "
        "TimeoutError. close() takes all of ws_close, and the code is 1006."
    )
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    at: int = count(0, "number", "of the client's message from which on it is silent; 0: the handshake")

    def begin(self, talks: Talks) -> None:
        talks.at_message(self.at, talks.fall_silent)


@catalogued
@dataclass(frozen=True, slots=True)
class NoPong(Talking):
    """The client's pings go unanswered; messages are answered as ever."""

    name: ClassVar[str] = "no_pong"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "No pong frames."
    aiohttp: ClassVar[str] = (
        "With `heartbeat` set, ERROR with ServerTimeoutError, though messages still come; else nothing."
    )
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    after: int = count(0, "pings", "that are answered before")

    def begin(self, talks: Talks) -> None:
        talks.ignore_pings(after=self.after)


@catalogued
@dataclass(frozen=True, slots=True)
class FragmentedMessage(Talking):
    """The server's messages come in fragments."""

    name: ClassVar[str] = "fragmented_message"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "Each message in frames of so many bytes, all but the first of them continuations."
    aiohttp: ClassVar[str] = "Whole messages."
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    size: int = count(1, "bytes", "in each frame", least=1)

    def begin(self, talks: Talks) -> None:
        talks.fragment(self.size)


@catalogued
@dataclass(frozen=True, slots=True)
class OversizedMessage(Talking):
    """The server's first message is longer than a client may take: filled up with spaces, or, if binary, with zeros."""

    name: ClassVar[str] = "oversized_message"
    stage: ClassVar[Stage] = Stage.WEBSOCKET
    wire: ClassVar[str] = "A message of so many bytes."
    aiohttp: ClassVar[str] = "ERROR with close code 1009, from max_msg_size (4 MiB) on; the server is told so."
    httpx: ClassVar[str] = _NO_WEBSOCKETS
    size: int = count(_AIOHTTPS_MOST + 1, "bytes", "of the message", least=1)

    def begin(self, talks: Talks) -> None:
        talks.pad_next(self.size)
