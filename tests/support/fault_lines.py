"""What rules decide about, without a socket: connections and requests as the ledger writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fleetsim.faults.catalogue import Fault, Stage
from fleetsim.records import ConnectionLine, RequestLine

__all__ = ["AtAccept", "connection", "request"]


@dataclass(frozen=True, slots=True)
class AtAccept(Fault):
    """Stands for any fault that strikes a connection as it is accepted. Not in the catalogue."""

    name: ClassVar[str] = "at_accept"
    stage: ClassVar[Stage] = Stage.CONNECT


def connection(number: int = 1, server: int = 0) -> ConnectionLine:
    return ConnectionLine(number, server, "127.0.0.1:1", 0.0)


def request(on: ConnectionLine | None = None, path: str = "/v1/chat/completions") -> RequestLine:
    """The next request on a connection, by default the first on one of its own."""
    line = on if on is not None else connection()
    line.requests += 1
    return RequestLine(1, line.server, line.connection, line.requests, "POST", path, 0.0)
