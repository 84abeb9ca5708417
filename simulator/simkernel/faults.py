"""What may go wrong on the way: every fault is an entry in a list, in force from its beginning to its end.

Faults add up. Two partitions of one host are over when both have ended; two slow links multiply. Each method strikes at
once or `after` so many seconds, and where a fault lasts, it lasts until its `end()`, for `lasting` seconds, or until
`heal`. A test may strike them as it goes, or plan them all before it begins.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from simkernel.connection import Connection
from simkernel.hosts import TargetLike
from simkernel.kernel import Kernel
from simkernel.links import Effect, Target
from simkernel.settings import Settings

__all__ = ["Fault", "Net"]


class Fault:
    """One fault. `end` may be called at any time and any number of times."""

    def __init__(self, what: str, target: Target, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self.what, self.target = what, target
        self._begin, self._end = begin, end
        self.is_over = False
        self.in_force = False

    def __repr__(self) -> str:
        state = "in force" if self.in_force else "over" if self.is_over else "to come"
        return f"<Fault {self.what} {self.target}: {state}>"

    def begin(self) -> None:
        """Strike. Called by the network."""
        self.in_force = True
        self._begin()

    def end(self) -> None:
        """Be over: undo what it did, or never strike."""
        if self.in_force:
            self.in_force = False
            self._end()
        self.is_over = True


class Net(Kernel):
    """What `run` gives to the program's main function: make hosts, strike faults, read the clock and the counts.

    Every fault takes a target: a host, its name or address, with a port or without (`"gpu-1"`, `"10.0.0.1:8000"`,
    `("127.0.0.1", 8000)`); None is everything. Raises ValueError for a target nobody has and for a number that makes no
    sense.
    """

    def __init__(self, seed: int, settings: Settings) -> None:
        super().__init__(seed, settings)
        self.faults: list[Fault] = []

    def partition(self, target: TargetLike = None, *, after: float = 0.0, lasting: float | None = None) -> Fault:
        """Nothing arrives, in either direction. TCP sends it again once that is over, unless it has given up."""
        return self._effect("partition", Effect(self.hosts.target(target), partitioned=True), after, lasting)

    def refuse(self, target: TargetLike = None, *, after: float = 0.0, lasting: float | None = None) -> Fault:
        """New connections are refused; those there are live on."""
        return self._effect("refuse", Effect(self.hosts.target(target), refusing=True), after, lasting)

    def fill_backlog(self, target: TargetLike = None, *, after: float = 0.0, lasting: float | None = None) -> Fault:
        """New connections meet a full queue: their SYNs are lost, and sent again after 1, 2, 4 ... seconds."""
        return self._effect("fill backlog", Effect(self.hosts.target(target), backlog_full=True), after, lasting)

    def slow(
        self,
        target: TargetLike = None,
        *,
        factor: float = 1.0,
        extra: float = 0.0,
        after: float = 0.0,
        lasting: float | None = None,
    ) -> Fault:
        """Packets take `factor` times as long and `extra` seconds more."""
        _check("factor", factor)
        _check("extra", extra)
        return self._effect("slow", Effect(self.hosts.target(target), factor=factor, extra=extra), after, lasting)

    def bandwidth(
        self, target: TargetLike, bytes_per_second: float, *, after: float = 0.0, lasting: float | None = None
    ) -> Fault:
        """Each direction of each connection carries at most so much."""
        _check("bytes_per_second", bytes_per_second)
        if bytes_per_second == 0:
            raise ValueError(f"bytes_per_second={bytes_per_second!r}: expected more than 0")
        return self._effect(
            "bandwidth", Effect(self.hosts.target(target), bandwidth=bytes_per_second), after, lasting, bytes_per_second
        )

    def lose_syn(self, target: TargetLike = None, count: int = 1, *, after: float = 0.0) -> Fault:
        """The next `count` SYNs are lost."""
        _check_whole("count", count)
        return self._effect("lose syn", Effect(self.hosts.target(target), syns_to_lose=count), after, None, count)

    def reset(self, target: TargetLike = None, *, after: float = 0.0) -> Fault:
        """Both ends of every connection there is then get an RST, as from a box in the middle."""

        def cut(covered: list[Connection]) -> None:
            for connection in covered:
                connection.reset_both()

        return self._blow("reset", target, after, cut)

    def blackhole(self, target: TargetLike = None, *, after: float = 0.0) -> Fault:
        """Nothing arrives any more on the connections there are then, as when a NAT forgets them; new ones are well."""

        def swallow(covered: list[Connection]) -> None:
            for connection in covered:
                connection.silent = True

        return self._blow("blackhole", target, after, swallow)

    def kill(self, target: TargetLike = None, *, after: float = 0.0) -> Fault:
        """The servers there are gone as a process is: nobody listens, clients get a FIN, or an RST where something was
        unread. What still runs of the program there is told ECONNABORTED."""
        struck = self.hosts.target(target)

        def die(covered: list[Connection]) -> None:
            for address, listener in list(self.listeners.items()):
                if struck.covers(address):
                    self.stop_listening(listener)
            for connection in covered:
                connection.end_server()

        return self._blow("kill", target, after, die)

    def fd_limit(self, limit: int, *, after: float = 0.0, lasting: float | None = None) -> Fault:
        """At most `limit` descriptors are open at once; who asks for more is told EMFILE."""
        _check_whole("limit", limit)
        limits = self.descriptors.limits
        fault = Fault("fd limit", Target(), lambda: limits.append(limit), lambda: limits.remove(limit))
        return self._plan(fault, after, lasting, limit)

    def dns_fail(
        self,
        name: str | None = None,
        *,
        error: int = socket.EAI_NONAME,
        after: float = 0.0,
        lasting: float | None = None,
    ) -> Fault:
        """Looking up `name`, or any name, fails with this EAI number."""
        hosts, key = self.hosts, name or ""
        hosts.check_failure(error)
        fault = Fault("dns fail", Target(), lambda: hosts.fail(key, error), lambda: hosts.succeed(key, error))
        return self._plan(fault, after, lasting, key, int(error))

    def heal(self, target: TargetLike = None, *, after: float = 0.0) -> None:
        """End what is in force on this target, or with None whatever is: not what has happened to connections."""
        wanted = self.hosts.target(target)
        if after:
            self.later(after, Net._heal, (self, wanted))
        else:
            self._heal((self, wanted))

    @staticmethod
    def _heal(wanted: tuple[Net, Target]) -> None:
        net, target = wanted
        net.note("heal", str(target))
        for fault in [fault for fault in net.faults if target.includes(fault.target)]:
            fault.end()
        net.faults = [fault for fault in net.faults if fault.in_force]

    def _effect(self, what: str, effect: Effect, after: float, lasting: float | None, *facts: float) -> Fault:
        def begin() -> None:
            self.effects.append(effect)
            self.effects_changed()

        def end() -> None:
            self.effects.remove(effect)
            self.effects_changed()

        return self._plan(Fault(what, effect.target, begin, end), after, lasting, *facts)

    def _blow(self, what: str, target: TargetLike, after: float, strike: Callable[[list[Connection]], None]) -> Fault:
        struck = self.hosts.target(target)

        def begin() -> None:
            strike(self.connections_to(struck.covers))

        return self._plan(Fault(what, struck, begin, _nothing), after, None)

    def _plan(self, fault: Fault, after: float, lasting: float | None, *facts: object) -> Fault:
        _check("after", after)

        def begin(fault: Fault) -> None:
            if fault.is_over:
                return
            self.note(fault.what, str(fault.target), *facts)
            self.faults.append(fault)
            fault.begin()
            if lasting is not None:
                self.later(lasting, end, fault)

        def end(fault: Fault) -> None:
            if fault.in_force:
                self.note(f"end of {fault.what}", str(fault.target))
                fault.end()

        if lasting is not None:
            _check("lasting", lasting)
        if after:
            self.later(after, begin, fault)
        else:
            begin(fault)
        return fault


def _check(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"{name}={value!r}: expected a number of at least 0")


def _check_whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name}={value!r}: expected a whole number of at least 0")


def _nothing() -> None:
    """What has been struck at once cannot be undone."""
