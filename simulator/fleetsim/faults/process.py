"""Faults that end a server's process. When the last of them is over a new process begins, on the same port.

What vLLM 0.33 does on SIGTERM is in entrypoints/launchers/launcher.py (`handle_shutdown`) and v1/engine/core.py
(`_handle_shutdown`), and behind that in uvicorn's `Server.shutdown`. A process that begins anew has empty caches, and
numbers its answers as the first one did; the ledger is the fleet's and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleetsim.engine import Halt
from fleetsim.faults.catalogue import Stage, catalogued
from fleetsim.faults.kinds import Process, Standing, Undo
from fleetsim.faults.parameters import choice, duration
from fleetsim.faults.told import Told, either, failed

__all__ = ["Kill", "Restart", "SigtermAbort", "SigtermDrain", "StartUp"]


@catalogued
@dataclass(frozen=True, slots=True)
class StartUp(Standing):
    """The process starts up: its port is refused until it is ready. One that ran before is killed."""

    name: ClassVar[str] = "start_up"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = "RST in answer to SYN until it is ready; there is no 503 in between."
    aiohttp: ClassVar[str] = "ClientConnectorError (connection refused) until it is ready."
    httpx: ClassVar[str] = "ConnectError until it is ready."
    told: ClassVar[Told] = failed("connect")
    seconds: float | None = duration(None, "until it is ready; left out: until the rule is over")

    def begin(self, process: Process) -> Undo:
        return process.kill(self.name, self.seconds)


@catalogued
@dataclass(frozen=True, slots=True)
class Kill(Standing):
    """The process is killed: every connection ends at once, whatever it is doing, and the port is refused."""

    name: ClassVar[str] = "kill"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = (
        "FIN on every connection, inside a chunk or a head as it comes; RST where the kernel holds bytes that nobody "
        "has read. Then RST in answer to SYN."
    )
    aiohttp: ClassVar[str] = "ServerDisconnectedError, ClientOSError or ClientPayloadError; then ClientConnectorError."
    httpx: ClassVar[str] = "RemoteProtocolError or ReadError; then ConnectError."
    told: ClassVar[Told] = failed("connect")

    def begin(self, process: Process) -> Undo:
        return process.kill(self.name)


@catalogued
@dataclass(frozen=True, slots=True)
class SigtermAbort(Standing):
    """SIGTERM as vLLM takes it by default (--shutdown-timeout 0): requests under way end at once, with `abort`.

    The engine's requests end first, and those that still come end with `abort` too; then new connections are refused,
    idle ones get a FIN, and the process is gone with its last connection. If it has not gone when the rule is over, it
    is killed. An answer of one's own has no engine, and is waited for.
    """

    name: ClassVar[str] = "sigterm_abort"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = (
        'What has been said so far with finish_reason "abort" at status 200, and `data: [DONE]` behind it in a stream; '
        "then FIN at once, and RST in answer to SYN."
    )
    aiohttp: ClassVar[str] = "Whole responses, cut short; then ClientConnectorError."
    httpx: ClassVar[str] = "Whole responses, cut short; then ConnectError."
    told: ClassVar[Told] = failed("connect")

    def begin(self, process: Process) -> Undo:
        return process.terminate(self.name, Halt.ABORTING, 0.0)


@catalogued
@dataclass(frozen=True, slots=True)
class SigtermDrain(Standing):
    """SIGTERM as vLLM takes it with a --shutdown-timeout: requests under way run to their end.

    Meanwhile the port is open, and requests that come end with `abort` at once. When no request is left, or time is
    up and what is left has ended with `abort`, new connections are refused, idle ones get a FIN, responses whose head
    is still to come say `connection: close`, and the process is gone with its last connection. If it has not gone when
    the rule is over, it is killed.
    """

    name: ClassVar[str] = "sigterm_drain"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = (
        'Whole responses to requests under way, finish_reason "abort" to those that come; behind the last of them FIN '
        "on every connection, and RST in answer to SYN."
    )
    aiohttp: ClassVar[str] = "Whole responses; then ClientConnectorError."
    httpx: ClassVar[str] = "Whole responses; then ConnectError."
    told: ClassVar[Told] = failed("connect")
    timeout: float = duration(30.0, "how long requests under way may run (--shutdown-timeout)")

    def begin(self, process: Process) -> Undo:
        return process.terminate(self.name, Halt.DRAINING, self.timeout)


@catalogued
@dataclass(frozen=True, slots=True)
class Restart(Standing):
    """The process ends, and a while after it has gone the same port serves again."""

    name: ClassVar[str] = "restart"
    stage: ClassVar[Stage] = Stage.PROCESS
    wire: ClassVar[str] = "As `kill`, `sigterm_abort` or `sigterm_drain`; then the port accepts again."
    aiohttp: ClassVar[str] = "As by these; ClientConnectorError for a while, then well."
    httpx: ClassVar[str] = "As by these; ConnectError for a while, then well."
    told: ClassVar[Told] = either("connect", "disconnected", "reset")
    how: str = choice("kill", "how it ends", "sigterm_abort", "sigterm_drain")
    down: float = duration(1.0, "from its end to when the port serves again")
    timeout: float = duration(30.0, "how long requests under way may run, with sigterm_drain")

    def begin(self, process: Process) -> Undo:
        if self.how == "kill":
            return process.kill(self.name, self.down)
        halt = Halt.ABORTING if self.how == "sigterm_abort" else Halt.DRAINING
        return process.terminate(self.name, halt, self.timeout, self.down)
