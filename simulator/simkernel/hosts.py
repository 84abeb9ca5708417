"""Machines by name and address, and the name service that knows them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from simkernel.links import Target

__all__ = ["ANYWHERE", "HOME", "LOOPBACK", "Host", "Hosts", "TargetLike", "literal_address"]

HOME = "10.255.0.1"
"""The address of the machine the program runs on, as the others see it."""
LOOPBACK = "127.0.0.1"
ANYWHERE = "0.0.0.0"  # noqa: S104  # simulated: nothing real is bound

_FIRST = int(ipaddress.IPv4Address("10.0.0.1"))


@dataclass(frozen=True, slots=True)
class Host:
    """A machine. A server belongs to it by listening on one of its addresses."""

    name: str
    addresses: tuple[str, ...]

    @property
    def address(self) -> str:
        """Its first address."""
        return self.addresses[0]


TargetLike = str | Host | tuple[str | Host, int] | None
"""What a fault may be given to strike: a host, its name or an address, with a port (also as "name:port") or without;
None is everything."""


class Hosts:
    """The machines of one run, and how names resolve."""

    def __init__(self) -> None:
        self._known: dict[str, Host] = {"localhost": Host("localhost", (LOOPBACK,))}
        self._failing: dict[str, list[int]] = {}

    def add(self, name: str, addresses: Iterable[str] = ()) -> Host:
        """Return the host of this name; a new one gets `addresses`, or the next free one of 10.0.0.0/8.

        Raises ValueError for what is no IPv4 address, or for a name that is known with other addresses.
        """
        wanted = tuple(str(ipaddress.IPv4Address(address)) for address in addresses)
        known = self._known.get(name)
        if known is None:
            given = wanted or (str(ipaddress.IPv4Address(_FIRST + len(self._known) - 1)),)
            known = self._known[name] = Host(name, given)
        elif wanted and wanted != known.addresses:
            raise ValueError(f"host {name!r} has the addresses {known.addresses}, not {wanted}")
        return known

    def target(self, wanted: TargetLike) -> Target:
        """Return what a fault is to strike. Raises ValueError for a name nobody has, and for what is no target."""
        if wanted is None:
            return Target()
        where, port = _in_two(wanted)
        if port is not None and not (isinstance(port, int) and 0 < port < 65536):
            raise ValueError(f"target {wanted!r}: expected a port from 1 to 65535")
        host = where if isinstance(where, Host) else self._find(where)
        return Target(frozenset(host.addresses), port)

    def _find(self, name: object) -> Host:
        known = self._known.get(name) if isinstance(name, str) else None
        if known is not None:
            return known
        if isinstance(name, str) and _is_address(name):
            return Host(name, (name,))
        raise ValueError(f"target {name!r}: expected an IPv4 address or one of the hosts {sorted(self._known)}")

    def resolve(self, name: str) -> tuple[str, ...]:
        """Return the addresses of a name. Raises socket.gaierror as the system's resolver does."""
        failures = self._failing.get(name) or self._failing.get("")
        if failures:
            raise socket.gaierror(failures[-1], _SAYINGS[failures[-1]])
        if (host := self._known.get(name)) is not None:
            return host.addresses
        raise socket.gaierror(socket.EAI_NONAME, _SAYINGS[socket.EAI_NONAME])

    def fail(self, name: str, number: int) -> None:
        """Have `name`, or with "" every name, fail with this EAI number, until `succeed` has been called as often."""
        self._failing.setdefault(name, []).append(number)

    @staticmethod
    def check_failure(number: int) -> None:
        """Raises ValueError for a number that no resolver answers with."""
        if number not in _SAYINGS:
            raise ValueError(f"error={number!r}: expected one of {[int(each) for each in _SAYINGS]}")

    def succeed(self, name: str, number: int) -> None:
        """Take back one `fail`."""
        self._failing[name].remove(number)


# As glibc says it.
_SAYINGS: dict[int, str] = {
    socket.EAI_NONAME: "Name or service not known",
    socket.EAI_AGAIN: "Temporary failure in name resolution",
    socket.EAI_FAIL: "Non-recoverable failure in name resolution",
}


def _in_two(target: TargetLike) -> tuple[object, object]:
    """Where it is, and its port if it has one."""
    if isinstance(target, tuple) and len(target) == 2:
        return target
    if isinstance(target, str) and target.count(":") == 1:
        where, _, digits = target.partition(":")
        return where, int(digits) if digits.isdecimal() else digits
    return target, None


def literal_address(name: str | None) -> str | None:
    """Return the IPv4 address that `name` is already; None for a name to look up."""
    if not name:
        return ANYWHERE
    return name if _is_address(name) else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
