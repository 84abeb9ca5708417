"""One fake vLLM server: a port, its life, and what may be changed while it runs."""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any

from fleetsim.book import Book
from fleetsim.errors import FleetError, IllegalMoveError
from fleetsim.exchange import Answer
from fleetsim.faults.armoury import Armoury
from fleetsim.faults.catalogue import Fault
from fleetsim.faults.rules import ArmedRule, Rule
from fleetsim.faults.scripts import Script, Step
from fleetsim.faults.where import Where
from fleetsim.hold import Hold
from fleetsim.ledger import Ledger
from fleetsim.process import Life, ServerProcess
from fleetsim.wire.endings import Ending, as_ending
from fleetsim.wire.listener import Listener
from fleetsim.wire.settings import WireSettings, check_keepalive_timeout
from fleetsim.wire.unix import check_socket_path
from fleetsim.wire.websocket_settings import DEFAULT_WEBSOCKETS, WebSocketSettings

__all__ = ["BACKLOG", "FakeVLLMServer", "FleetEndpoint", "ServerState"]

# uvicorn's. The kernel caps it by net.core.somaxconn.
BACKLOG = 2_048

_LOOPBACK_OF_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound to


class ServerState(enum.Enum):
    """Where a server is in its life. DOWN is one whose process a fault has ended, or lets start up: it comes back."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    DOWN = "down"
    DEAD = "dead"


_LEGAL_MOVES = {
    ServerState.STARTING: {ServerState.SERVING, ServerState.DEAD},
    ServerState.SERVING: {ServerState.DRAINING, ServerState.DOWN, ServerState.DEAD},
    ServerState.DRAINING: {ServerState.SERVING, ServerState.DOWN, ServerState.DEAD},
    ServerState.DOWN: {ServerState.SERVING, ServerState.DEAD},
    ServerState.DEAD: set[ServerState](),
}


@dataclass(frozen=True, slots=True)
class FleetEndpoint:
    """Where a server is reached, and the tags it was given."""

    host: str
    port: int
    tags: Mapping[str, str] = field(default_factory=dict, hash=False)
    scheme: str = "http"

    @property
    def url(self) -> str:
        """`http://host:port`, or `https`, with an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def as_reached(host: str) -> str:
    """Return the address at which what listens on `host` is reached from this machine."""
    return _LOOPBACK_OF_ANY.get(host, host)


class FakeVLLMServer:
    """One server on one port, answering with `answer`.

    - `host`, `port`: where to listen; port 0 lets the kernel choose. `backlog`: connections queued before accept.
    - `path`: the file of a Unix socket to listen at instead. `tls`: speak TLS with this context.
    - `index`, `book`: its place in a fleet and the fleet's book; by default a fleet of its own.
    - `ending`: how responses end unless the request says otherwise; a name, an Ending, or None for vLLM's way.
    - `keepalive_timeout`: seconds until an idle connection is closed; None never.
    - `tell_connection`: add `x-fleet-connection` and `x-fleet-request` to every response; vLLM sends neither.
    - `armoury`: the fleet's; by default one of its own.
    - `anew`: makes the answer after a fault has ended its process; by default it stays the same.
    - `ending_header`: whether the request header X-Fleet-Ending is honoured; None, if it comes from a loopback address.
    - `websockets`: its ways with them.

    Belongs to the loop in which it is started. Raises ValueError for a `host` or `keepalive_timeout` that cannot be.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        index: int = 0,
        book: Book | None = None,
        tags: Mapping[str, str] | None = None,
        backlog: int = BACKLOG,
        ending: str | Ending | None = None,
        keepalive_timeout: float | None = 5.0,
        tell_connection: bool = False,
        ending_header: bool | None = None,
        armoury: Armoury | None = None,
        anew: Callable[[], Answer] | None = None,
        path: str | os.PathLike[str] | None = None,
        tls: SSLContext | None = None,
        websockets: WebSocketSettings = DEFAULT_WEBSOCKETS,
    ) -> None:
        check_host(host)
        check_keepalive_timeout(keepalive_timeout)
        self.index, self.tags = index, dict(tags or {})
        self._host, self._port, self._backlog = host, port, backlog
        self._path = None if path is None else Path(path)
        if self._path is not None:
            check_socket_path("path", self._path)
        self._book = book if book is not None else Book()
        self.ledger = Ledger(self._book, self._book.part(index), index)
        self.state = ServerState.STARTING
        self._listener: Listener | None = None
        self._process: ServerProcess | None = None
        self._pausing, self._anew = False, anew
        self._settings = WireSettings(
            answer,
            as_ending(ending),
            keepalive_timeout,
            tell_connection,
            ending_header,
            tls=tls,
            websockets=websockets,
        )
        self._as_made = replace(self._settings)
        self._armoury = armoury if armoury is not None else Armoury()
        self._rules = self._armoury.join(index, self.tags, self._settings.use_rules)

    def __repr__(self) -> str:
        where = self._path or (f"port {self._port}" if self._port else "no port yet")
        return f"<FakeVLLMServer {self.index} {self.state.value}, {where}, {self.ledger.open_now} connections>"

    @property
    def endpoint(self) -> FleetEndpoint:
        """Host, port, tags and scheme. Raises FleetError before the server has a port, or where it never has one."""
        return FleetEndpoint(as_reached(self._host), self.port, self.tags, self._scheme)

    @property
    def port(self) -> int:
        """The port it listens, or listened, on. Raises FleetError before it has one, and on a Unix socket."""
        if self._path is not None:
            raise FleetError(f"server {self.index} has no port: it listens at {self._path}")
        if not self._port:
            raise FleetError(f"server {self.index} has no port before it is started")
        return self._port

    @property
    def path(self) -> Path | None:
        """The file of its Unix socket; None where it listens on a port."""
        return self._path

    @property
    def url(self) -> str:
        """`http://host:port`, or `https`; on a Unix socket `http://localhost`, for a connector that knows `path`."""
        return self.endpoint.url if self._path is None else f"{self._scheme}://localhost"

    @property
    def _scheme(self) -> str:
        return "http" if self._settings.tls is None else "https"

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given: `url` with `/v1`."""
        return f"{self.url}/v1"

    @property
    def ending(self) -> Ending:
        """How responses end unless the request says otherwise. Takes a name, an Ending or None; holds from the next
        request on. Raises EndingError."""
        return self._settings.ending

    @ending.setter
    def ending(self, value: str | Ending | None) -> None:
        self._settings.ending = as_ending(value)

    @property
    def keepalive_timeout(self) -> float | None:
        """Seconds an idle connection is kept; holds from the next response on. None keeps it for ever.

        Raises ValueError, and changes nothing, for what is no number of seconds.
        """
        return self._settings.keepalive_timeout

    @keepalive_timeout.setter
    def keepalive_timeout(self, value: float | None) -> None:
        check_keepalive_timeout(value)
        self._settings.keepalive_timeout = value

    @property
    def holds(self) -> list[Hold]:
        """The holds that keep its answers back now, in the order they were entered."""
        return self._settings.holds

    def hold(self) -> Hold:
        """Return a context manager that keeps this server's answers back while it is open."""
        return Hold([self.holds], self.ledger)

    def fault(
        self,
        fault: str | Fault,
        /,
        *,
        rate: float = 1.0,
        times: int | None = None,
        after: int = 0,
        for_: float | str | None = None,
        where: Where | Mapping[str, Any] | None = None,
        seed: int | None = None,
        **parameters: object,
    ) -> ArmedRule:
        """Let `fault` strike this server from its next connection or request on, until the rule is removed or over.

        `with server.fault("reset", after_bytes=200, times=1) as rule:` removes it on leaving. `parameters` are the
        fault's, the others are explained at `Rule`. Any thread. Raises FaultError and RuleError, and changes nothing.
        """
        made = Rule.make(fault, parameters, rate=rate, times=times, after=after, for_=for_, where=where, seed=seed)
        return self._armoury.arm(made, only=self._rules)

    def script(self, *steps: Step, route: str | None = None, header: str | None = None) -> Script:
        """Let `steps` be the faults of the next requests, one each: `server.script("3x before_head", "ok", "reset")`.

        `route` and `header` narrow which requests take a step, as in `Where`. `script.assert_consumed()` says whether
        all were taken. Any thread. Raises FaultError and RuleError, and changes nothing.
        """
        return self._armoury.arm_script(steps, Where(route=route, header=header), self._rules)

    async def start(self) -> None:
        """Bind, listen and serve. Raises BindError, and is DEAD then; IllegalMoveError if it was started before.

        Cancelling it leaves nothing listening.
        """
        self._require(ServerState.SERVING)
        loop = asyncio.get_running_loop()
        if self._book.loop is None:
            self._book.bind(loop)
        self._armoury.begin(loop.time)
        listener = Listener(self._settings, self._book, self.index)
        # What keeps the port shut from the beginning must have begun before it opens.
        shut = self._rules.doorkeeper.is_awaited
        if shut:
            listener.refuse()
        try:
            await self._listen(listener)
            self._listener, self._process = listener, ServerProcess(listener, self._settings, self._book, self._life())
            self._move(ServerState.SERVING)
            await self._rules.doorkeeper.open(self._process)
            if shut:
                await listener.listen_again()
        except BaseException:
            self._rules.doorkeeper.leave()
            if self._process is not None:
                self._process.stop()
            listener.end_all()
            self._move(ServerState.DEAD)
            raise

    def _life(self) -> Life:
        return Life(
            ledger=self.ledger,
            leaving=partial(self._move, ServerState.DRAINING),
            gone=partial(self._move, ServerState.DOWN),
            back=partial(self._move, ServerState.SERVING),
            anew=self._anew,
            submit=self._rules.doorkeeper.submit,
        )

    async def _listen(self, listener: Listener) -> None:
        if self._path is None:
            self._port = await listener.listen(self._host, self._port, self._backlog)
        else:
            await listener.listen_at(self._path, self._backlog)

    async def pause_accepting(self) -> None:
        """Stop accepting; connects still succeed into the kernel's queue, where nobody answers.

        Pausing twice is pausing once. Raises IllegalMoveError unless the server is serving.
        """
        listener = self._serving()
        if not self._pausing:
            self._pausing = True
            listener.pause_accepting()

    async def resume_accepting(self) -> None:
        """Accept again, what waits in the queue first, unless a fault keeps it from that.

        Raises IllegalMoveError unless the server is serving.
        """
        listener = self._serving()
        if self._pausing:
            self._pausing = False
            await listener.resume_accepting()

    async def drain(self) -> None:
        """Stop as uvicorn does on SIGTERM, and return when the last connection is gone, however long that takes.

        New connections are refused, idle ones get a FIN at once; a response still to come says `connection: close`
        where its head is yet to be written, and is the last on its connection. Faults of the server as a whole begin
        and end no more. Cancelling it leaves the server draining. Raises IllegalMoveError unless it is serving.
        """
        self._move(ServerState.DRAINING)
        self._end_faults()
        self._settings.draining = True
        listener = self._bound()
        listener.stop_listening()
        listener.close_idle()
        await listener.wait_until_empty()
        if self.state is ServerState.DRAINING:
            self._move(ServerState.DEAD)

    async def renew(self, answer: Answer) -> None:
        """Make the server as it was before its first connection, on the same port, answering with `answer`.

        Every connection is ended at once, nothing is held back any more and the settings are those it was made with.
        Its figures stay. Raises IllegalMoveError unless the server is serving, and StuckRequestError as `close` does;
        cancelling it leaves the connections ending.
        """
        listener = self._serving()
        for hold in tuple(self.holds):
            hold.release()
        made = self._as_made
        self._settings.ending, self._settings.keepalive_timeout = made.ending, made.keepalive_timeout
        if self._process is not None:
            self._process.answer_with(answer)
        await self.resume_accepting()
        listener.end_connections()
        await listener.wait_until_stopped()

    def end_all(self) -> None:
        """Stop listening and end all connections at once; `close` waits for what that sets going."""
        if self.state is not ServerState.DEAD:
            self._move(ServerState.DEAD)
        self._end_faults()
        if self._listener is not None:
            self._listener.end_all()

    def _end_faults(self) -> None:
        self._rules.doorkeeper.leave()
        if self._process is not None:
            self._process.stop()

    async def close(self) -> None:
        """`end_all`, and return when no socket, task or timer of it is left.

        May be called in every state, and again. Raises StuckRequestError when an answer does not stop within 5 s of
        being cancelled. Cancelling `close` leaves the connections ending.
        """
        self.end_all()
        await self._rules.doorkeeper.settled()
        if self._process is not None:
            await self._process.settled()
        if self._listener is not None:
            await self._listener.close()

    def _bound(self) -> Listener:
        if self._listener is None:
            raise IllegalMoveError(f"server {self.index} has not been started")
        return self._listener

    def _serving(self) -> Listener:
        if self.state is not ServerState.SERVING:
            raise IllegalMoveError(f"server {self.index} is {self.state.value}, not serving")
        return self._bound()

    def _require(self, state: ServerState) -> None:
        if state not in _LEGAL_MOVES[self.state]:
            raise IllegalMoveError(f"server {self.index} cannot go from {self.state.value} to {state.value}")

    def _move(self, state: ServerState) -> None:
        self._require(state)
        self.state = state


def check_host(host: object) -> None:
    if not isinstance(host, str) or not host.isprintable():
        raise ValueError(f"host: expected an address or a name as text, got {host!r}")
