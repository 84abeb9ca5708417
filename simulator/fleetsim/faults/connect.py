"""Faults of connecting. The first four strike single connections; the last two hold for a server as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.kinds import Accepted, Connecting, Process, Standing, Undo
from fleetsim.faults.parameters import duration
from fleetsim.faults.told import LATE, NEVER, Told, failed

__all__ = ["AcceptFin", "AcceptPaused", "AcceptRst", "Blackhole", "Refuse", "SlowAccept"]


@catalogued
@dataclass(frozen=True, slots=True)
class AcceptFin(Connecting):
    """The connection is accepted and closed at once."""

    name: ClassVar[str] = "accept_fin"
    stage: ClassVar[Stage] = Stage.CONNECT
    wire: ClassVar[str] = "FIN behind the handshake; an RST in answer to what the client had sent by then."
    aiohttp: ClassVar[str] = "ServerDisconnectedError or ClientOSError; a GET is sent once more by aiohttp itself."
    httpx: ClassVar[str] = "RemoteProtocolError or ReadError."
    told: ClassVar[Told] = failed("disconnected", "reset")

    def accept(self, accepted: Accepted) -> None:
        accepted.fin()


@catalogued
@dataclass(frozen=True, slots=True)
class AcceptRst(Connecting):
    """The connection is accepted and reset at once."""

    name: ClassVar[str] = "accept_rst"
    stage: ClassVar[Stage] = Stage.CONNECT
    wire: ClassVar[str] = "RST (SO_LINGER 0) behind the handshake."
    aiohttp: ClassVar[str] = "ClientOSError ECONNRESET; a GET is sent once more by aiohttp itself."
    httpx: ClassVar[str] = "ReadError or WriteError."
    told: ClassVar[Told] = failed("disconnected", "reset")

    def accept(self, accepted: Accepted) -> None:
        accepted.rst()


@catalogued
@dataclass(frozen=True, slots=True)
class Blackhole(Connecting):
    """The connection is accepted, nothing is read and nothing is said. Its end is not noticed until the server's."""

    name: ClassVar[str] = "blackhole"
    stage: ClassVar[Stage] = Stage.CONNECT
    wire: ClassVar[str] = "The handshake, then silence; what the client sends stays in the server's kernel."
    aiohttp: ClassVar[str] = "A wait: SocketTimeoutError with sock_read set, else for ever."
    httpx: ClassVar[str] = "ReadTimeout."
    told: ClassVar[Told] = NEVER

    def accept(self, accepted: Accepted) -> None:
        accepted.stop_reading()


@catalogued
@dataclass(frozen=True, slots=True)
class SlowAccept(Connecting):
    """The connection is accepted and nothing is read for a time; then it is served as any other."""

    name: ClassVar[str] = "slow_accept"
    stage: ClassVar[Stage] = Stage.CONNECT
    wire: ClassVar[str] = "The handshake (which is the kernel's), then silence for that long."
    aiohttp: ClassVar[str] = "A whole response, late: sock_read limits the wait, sock_connect does not."
    httpx: ClassVar[str] = "A whole response, late: the read timeout limits the wait."
    told: ClassVar[Told] = LATE
    seconds: float = duration(1.0, "until the first byte is read")

    def accept(self, accepted: Accepted) -> None:
        accepted.stop_reading()
        accepted.later(self.seconds, accepted.read_on)


@catalogued
@dataclass(frozen=True, slots=True)
class Refuse(Standing):
    """New connections are refused; those there are live on."""

    name: ClassVar[str] = "refuse"
    stage: ClassVar[Stage] = Stage.CONNECT
    wire: ClassVar[str] = "RST in answer to SYN: nobody listens on the port."
    aiohttp: ClassVar[str] = "ClientConnectorError (connection refused)."
    httpx: ClassVar[str] = "ConnectError."
    told: ClassVar[Told] = failed("connect")

    def begin(self, process: Process) -> Undo:
        process.doors.refuse()
        return process.doors.listen_again


@catalogued
@dataclass(frozen=True, slots=True)
class AcceptPaused(Standing):
    """Nobody accepts: connections wait in the kernel's queue, and are served when it is over."""

    name: ClassVar[str] = "accept_paused"
    stage: ClassVar[Stage] = Stage.CONNECT
    wire: ClassVar[str] = "The handshake and silence up to the backlog; beyond it SYNs go unanswered."
    aiohttp: ClassVar[str] = "A wait: SocketTimeoutError with sock_read set; beyond the backlog ConnectionTimeoutError."
    httpx: ClassVar[str] = "ReadTimeout; beyond the backlog ConnectTimeout."
    told: ClassVar[Told] = NEVER

    def begin(self, process: Process) -> Undo:
        process.doors.pause_accepting()
        return process.doors.resume_accepting
