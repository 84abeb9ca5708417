"""The simulated machine: its clock, what is under way, its descriptors, listeners, connections and hosts.

There is one agenda. Whatever takes time (a packet, a retry, a fault to come) is an entry with a virtual instant, and
entries of one instant come in an order drawn from the seed. The selector moves the clock and calls `run_due`; nothing
else does, but for a program that calls `time.sleep`.
"""

from __future__ import annotations

import errno
import heapq
import random
from collections.abc import Callable
from typing import Any, TypeVar

from simkernel.connection import Connection, Pipe
from simkernel.descriptors import Descriptors
from simkernel.handshake import Dial, Ports
from simkernel.hosts import ANYWHERE, Host, Hosts
from simkernel.links import Address, Effect, Link
from simkernel.settings import Settings
from simkernel.statistics import Statistics
from simkernel.tcp import End, State, raise_errno
from simkernel.trace import Trace

__all__ = ["Kernel"]

T = TypeVar("T")

_START = 1_000.0


class Kernel:
    """One simulated world below its program. `simkernel.faults.Net` adds what a program may do to it."""

    def __init__(self, seed: int, settings: Settings) -> None:
        self.seed, self.settings = seed, settings
        self.started = self.now = _START
        self.chance = random.Random(f"simkernel network {seed}")
        self.trace = Trace(segments=settings.segments)
        self.statistics = Statistics()
        self.hosts = Hosts()
        self.descriptors = Descriptors()
        self.stirred: dict[int, End] = {}
        self.stalled: list[Pipe] = []
        self.connections: dict[int, Connection] = {}
        self.listeners: dict[Address, End] = {}
        self.ports = Ports()
        self._links: dict[Address, Link] = {}
        self._agenda: list[tuple[float, float, int, Callable[[Any], None], Any]] = []
        self._entries = 0
        self.effects: list[Effect] = []
        self._dials = 0

    # For the program.

    def host(self, name: str, *addresses: str) -> Host:
        """Return the machine of this name; a new one gets `addresses`, or one of its own. A server belongs to it by
        listening on its address. Raises ValueError for what is no IPv4 address."""
        return self.hosts.add(name, addresses)

    def note(self, what: str, *facts: Any) -> None:
        """Add an event to the trace, and so to the digest: words and numbers that depend on the seed alone."""
        self.trace.events.append((round(self.now - self.started, 9), what, *facts))

    # The agenda.

    def at(self, when: float, work: Callable[[T], None], subject: T) -> None:
        self._entries += 1
        heapq.heappush(self._agenda, (when, self.chance.random(), self._entries, work, subject))

    def later(self, seconds: float, work: Callable[[T], None], subject: T) -> None:
        self.at(self.now + seconds, work, subject)

    def next_due(self) -> float | None:
        """The instant of the next entry; None when nothing is under way."""
        return self._agenda[0][0] if self._agenda else None

    def run_due(self) -> None:
        """Do what has come due by now."""
        agenda, now = self._agenda, self.now
        while agenda and agenda[0][0] <= now:
            _, _, _, work, subject = heapq.heappop(agenda)
            work(subject)

    def on_grid(self, when: float) -> float:
        """The instant itself, or the next one on the grid if there is one."""
        quantum = self.settings.quantum
        return (int(when / quantum) + 1) * quantum if quantum else when

    def cut(self, size: int) -> int:
        """Where to cut what is written at once in two; 0 for not at all."""
        fragment = self.settings.fragment
        if fragment and size > 1 and self.chance.random() < fragment:
            return self.chance.randrange(1, size)
        return 0

    # Links.

    def link(self, address: Address) -> Link:
        """The way to a server's address."""
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link(address, self.settings)
            link.work_out(self.effects)
        return link

    def effects_changed(self) -> None:
        """Work every link out anew, and send again what can arrive now."""
        for link in self._links.values():
            link.work_out(self.effects)
        stalled, self.stalled = self.stalled, []
        for pipe in stalled:
            if pipe.connection.link.partitioned or pipe.connection.silent:
                self.stalled.append(pipe)
            else:
                pipe.send_again()

    # Listening.

    def bind(self, end: End, address: Address) -> None:
        """Give it an address; port 0 means a free one. Raises EADDRINUSE, and EINVAL for one that has an address."""
        if end.local is not None:
            raise_errno(errno.EINVAL)
        host, port = address[0] or ANYWHERE, address[1]
        if port and self.listener_at((host, port)) is not None:
            raise_errno(errno.EADDRINUSE)
        end.local = (host, port or self.ports.free(host, self.listeners))

    def listen(self, end: End, backlog: int) -> None:
        """Take connections at its address from now on. Raises EADDRINUSE."""
        if end.local is None:
            self.bind(end, (ANYWHERE, 0))
        assert end.local is not None
        if self.listener_at(end.local) is not None:
            raise_errno(errno.EADDRINUSE)
        end.start_listening(backlog)
        self.listeners[end.local] = end
        self.note("listen", *end.local)

    def listener_at(self, address: Address) -> End | None:
        """Who takes connections to this address."""
        return self.listeners.get(address) or self.listeners.get((ANYWHERE, address[1]))

    def stop_listening(self, end: End) -> None:
        """Refuse new connections, and reset those that nobody has accepted yet."""
        assert end.local is not None
        if self.listeners.get(end.local) is end:
            del self.listeners[end.local]
            self.note("stop listening", *end.local)
        for waiting in end.empty_queue():
            waiting.closed = True
            waiting.send_rst()

    # Connections.

    def next_number(self) -> int:
        """The number of a connection that is about to come about."""
        self._dials += 1
        return self._dials

    def connect(self, end: End, address: Address) -> None:
        """Send the SYN."""
        self.statistics.connects += 1
        end.state, end.remote = State.CONNECTING, address
        if end.local is None:
            end.local = self.ports.ephemeral(address)
        Dial(self, end, self.link(address)).send_syn()

    def acknowledged(self, connection: Connection) -> None:
        """The handshake's last packet has come: it can be accepted, if somebody still listens."""
        listener, server = connection.listener, connection.server
        if server.closed or server.reset:
            return
        if listener.listening is None or listener.local is None or self.listeners.get(listener.local) is not listener:
            server.closed = True
            server.send_rst()
            connection.forget_when_closed()
            return
        listener.listening.waiting.append(server)
        listener.stir()

    def established(self, connection: Connection) -> None:
        """A client's connect has succeeded."""
        statistics = self.statistics
        statistics.connections += 1
        statistics.open_connections += 1
        statistics.peak_connections = max(statistics.peak_connections, statistics.open_connections)
        self.connections[connection.number] = connection
        self.note("connected", connection.number, *connection.link.address)

    def closed(self, end: End, connection: Connection) -> None:
        """A program has closed its end."""
        if end.is_client:
            self.statistics.open_connections -= 1
        self.note("close", connection.number, "client" if end.is_client else "server")

    def note_signal(self, what: str, mark: str) -> None:
        """A FIN or an RST has arrived."""
        if what == "fin":
            self.statistics.fins += 1
        else:
            self.statistics.resets += 1
        self.note(what, mark)

    def connections_to(self, covers: Callable[[Address], bool]) -> list[Connection]:
        """The connections there are whose server's address `covers` is true of."""
        return [each for each in self.connections.values() if covers(each.link.address)]
