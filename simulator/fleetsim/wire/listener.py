"""One listening port: aiohttp's low-level server with our connections in place of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from fleetsim.book import Book
from fleetsim.errors import BindError, StuckRequestError
from fleetsim.wire.connection import Connection
from fleetsim.wire.settings import WireSettings
from fleetsim.wire.tls import TlsWire
from fleetsim.wire.unix import SocketFile

__all__ = ["Listener"]

# How long cancelled requests may take to stop when a listener closes, in seconds.
CLOSE_GRACE = 5.0

# Turns of the loop until what has been accepted is a connection.
_HANDED_OVER = 3

# What asyncio takes for the backlog is how often it calls accept() at each event of the listening socket. Out of
# descriptors it logs every one of these calls and plans a new try for each, and each try does the same again.
_ACCEPTS_PER_EVENT = 1


class Listener(web.Server):
    """Accepts at one address and keeps the account of its connections in `book`, as server number `server`.

    Belongs to the loop it was made in.
    """

    def __init__(self, settings: WireSettings, book: Book, server: int) -> None:
        super().__init__(_not_aiohttps_way)
        self.settings, self.book, self.server = settings, book, server
        self._running_loop = asyncio.get_running_loop()
        self._alive: dict[Connection, None] = {}
        self._empty: asyncio.Event | None = None
        self._accepting: asyncio.Server | None = None
        self._paused: socket.socket | None = None
        self._address, self._backlog = ("", 0), 0
        self._file: SocketFile | None = None
        self._pauses = self._refusals = 0
        self.turns_away = False
        """Whether connections that are still handed over are cut at once: the process is gone, or the server's end has
        come, and accepting takes two turns of the loop."""

    def __call__(self) -> Connection:
        return Connection(self, self._running_loop)

    def _accepted(self) -> asyncio.Protocol:
        connection, tls = self(), self.settings.tls
        return connection if tls is None else TlsWire(connection, tls)

    # aiohttp's hooks.

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        connection = cast("Connection", handler)
        self._alive[connection] = None
        connection.opened(transport)
        if self.turns_away:
            connection.cut()

    def connection_over(self, connection: Connection) -> None:
        """A connection's socket is gone and its task has ended."""
        del self._alive[connection]
        if not self._alive and self._empty is not None:
            self._empty.set()

    # The listening socket.

    async def listen(self, host: str, port: int, backlog: int) -> int:
        """Bind and, unless it is to refuse, accept; return the port, which `port` 0 leaves to the kernel.

        Raises BindError. When it is cancelled, or raises, `stop_listening` closes what there is.
        """
        self._backlog = backlog
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        create = partial(self._running_loop.create_server, backlog=_ACCEPTS_PER_EVENT, start_serving=False)
        try:
            name = await self._accept(create(self._accepted, host, port, family=family))
        except OSError as error:
            raise BindError(host, port, _reason(error)) from error
        self._address = (host, int(name[1]))
        return self._address[1]

    async def listen_at(self, path: Path, backlog: int) -> None:
        """Bind the socket file `path` and accept. Raises, and is cancelled, as `listen`."""
        self._backlog = backlog
        self._file = SocketFile(path)
        try:
            bound = self._file.bind()
        except OSError as error:
            raise BindError(str(path), None, _reason(error)) from error
        # Not create_unix_server: since Python 3.13 it removes the file when accepting is only paused.
        create = partial(self._running_loop.create_server, backlog=_ACCEPTS_PER_EVENT, start_serving=False)
        await self._accept(create(self._accepted, sock=bound))

    async def _accept(self, creation: Coroutine[Any, Any, asyncio.Server]) -> Any:
        """Accept, unless that is refused or paused; return the socket's name."""
        # In two steps: cancelled in between, `create_server` alone would leave a socket listening that nobody has.
        self._accepting = server = await creation
        name = server.sockets[0].getsockname()
        if self._refusals:
            self._close_doors()
            return name
        if self._pauses:
            _listen(server.sockets[0].fileno(), self._backlog)
            self._pause()
            return name
        await server.start_serving()
        for each in server.sockets:
            _listen(each.fileno(), self._backlog)
        return name

    def pause_accepting(self) -> None:
        """Leave new connections in the kernel's queue until `resume_accepting` has been called as often: connects
        succeed up to the backlog, nobody answers."""
        self._pauses += 1
        self._pause()

    def _pause(self) -> None:
        if self._accepting is not None:
            # A twin of the descriptor keeps the socket listening while asyncio closes its own.
            self._paused = socket.socket(fileno=os.dup(self._accepting.sockets[0].fileno()))
            self._release(self._accepting)
            self._accepting = None

    def _release(self, server: asyncio.Server) -> None:
        # What asyncio has accepted it hands over in the next turn, and fails with a socket left open if its server has
        # been closed by then. uvloop does not, and lets nobody take the reader away.
        loop = self._running_loop
        if isinstance(loop, asyncio.SelectorEventLoop):
            for each in server.sockets:
                loop.remove_reader(each.fileno())
            loop.call_soon(server.close)
        else:
            server.close()

    async def resume_accepting(self) -> None:
        """Take back one `pause_accepting`, and with the last one accept again, what waits in the kernel's queue first;
        nothing once the server has ended."""
        if self._pauses:
            self._pauses -= 1
            await self._open()

    def refuse(self) -> None:
        """Give the port up until `listen_again` has been called as often. Connections live on; new ones are refused."""
        self._refusals += 1
        self._close_doors()

    async def listen_again(self) -> None:
        """Take back one `refuse`, and with the last one listen on the same port; nothing once the server has ended.

        Raises BindError when somebody else has the port by now.
        """
        if self._refusals:
            self._refusals -= 1
            await self._open()

    async def _open(self) -> None:
        """Listen and accept, as far as nothing keeps it from that any more."""
        if self._refusals:
            return
        if self._accepting is None and self._paused is None:
            await self._listen_as_before()
        elif self._paused is not None and not self._pauses:
            paused, self._paused = self._paused, None
            create = partial(self._running_loop.create_server, backlog=_ACCEPTS_PER_EVENT, start_serving=False)
            await self._accept(create(self._accepted, sock=paused))

    async def _listen_as_before(self) -> None:
        await asyncio.sleep(0)  # until the socket that was there has been closed
        if self._file is not None:
            await self.listen_at(self._file.path, self._backlog)
        else:
            await self.listen(*self._address, self._backlog)

    def stop_listening(self) -> None:
        """Close the listening socket, for good. Connections live on; new ones are refused."""
        self._pauses = self._refusals = 0
        self._close_doors()
        if self._file is not None:
            self._file.remove()

    def _close_doors(self) -> None:
        if self._accepting is not None:
            # A twin of the descriptor shuts the socket now: asyncio's own is closed a turn later.
            _shut(socket.socket(fileno=os.dup(self._accepting.sockets[0].fileno())))
            self._release(self._accepting)
        if self._paused is not None:
            _shut(self._paused)
        self._accepting = self._paused = None

    # The end.

    def close_idle(self) -> None:
        """Send a FIN on every connection that is not serving a request."""
        for connection in tuple(self._alive):
            connection.end_when_idle()

    async def wait_until_empty(self) -> None:
        """Return when no connection is left, however long that takes."""
        while self._alive:
            if self._empty is None or self._empty.is_set():
                self._empty = asyncio.Event()
            await self._empty.wait()

    def end_all(self) -> None:
        """Stop listening and end every connection at once, whatever it is doing."""
        self.turns_away = True
        self.stop_listening()
        self.end_connections()

    def end_connections(self) -> None:
        """End every connection there is at once, whatever it is doing, and go on listening."""
        for connection in tuple(self._alive):
            connection.end_now()

    def cut_connections(self) -> None:
        """End every connection there is as the kernel does for a process that is gone, and go on listening."""
        for connection in tuple(self._alive):
            connection.cut()

    async def close(self) -> None:
        """`end_all`, and return when all is gone. Raises StuckRequestError when cancelled requests do not stop."""
        self.end_all()
        for _ in range(_HANDED_OVER):
            await asyncio.sleep(0)
        await self.wait_until_stopped()

    async def wait_until_stopped(self) -> None:
        """Return when no connection is left. Raises StuckRequestError when cancelled requests do not stop in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_GRACE):
                await self.wait_until_empty()
        if self._alive:
            raise StuckRequestError(
                f"server {self.server}: {len(self._alive)} requests still run {CLOSE_GRACE:g} s after being cancelled"
            )


def _shut(listening: socket.socket) -> None:
    """Close it, and refuse from now on whoever else has the socket; where the kernel knows no such thing, when all have
    closed it."""
    with contextlib.suppress(OSError):
        listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def _listen(descriptor: int, backlog: int) -> None:
    """Give the kernel's queue of a listening socket another length."""
    borrowed = socket.socket(fileno=descriptor)
    try:
        borrowed.listen(backlog)
    finally:
        borrowed.detach()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


async def _not_aiohttps_way(request: web.BaseRequest) -> NoReturn:
    raise RuntimeError(f"{request.path}: Connection.start answers requests, aiohttp's handler is never asked")
