"""The control port: listens for calls that drive a fleet, beside its servers."""

from __future__ import annotations

from fleetsim.book import Book
from fleetsim.exchange import Answer
from fleetsim.server import FleetEndpoint, as_reached
from fleetsim.wire.listener import Listener
from fleetsim.wire.settings import WireSettings

__all__ = ["ControlPort", "check_control"]

_BACKLOG = 64
_HIGHEST_PORT = 65_535


class ControlPort:
    """Answers calls with `answer` on a port of its own, whose connections are in no ledger."""

    def __init__(self, answer: Answer, host: str, port: int) -> None:
        self._host, self.port = host, port
        self._settings = WireSettings(answer, ending_header=False)
        self._listener: Listener | None = None

    @property
    def url(self) -> str:
        """`http://host:port`. The port is 0 before one is chosen."""
        return FleetEndpoint(as_reached(self._host), self.port).url

    async def start(self) -> None:
        """Bind and listen, in the running loop. Raises BindError, with nothing left listening; so does cancelling."""
        self._listener = listener = Listener(self._settings, Book(journal_lines=0), 0)
        listener.book.add_part()
        try:
            self.port = await listener.listen(self._host, self.port, _BACKLOG)
        except BaseException:
            listener.stop_listening()
            raise

    async def close(self) -> None:
        """End every call, and return when no socket is left. May be called in every state, and again."""
        if self._listener is not None:
            await self._listener.close()


def check_control(port: object, token: object) -> None:
    """Raise ValueError for a port or a token that cannot be."""
    if port is not None and (not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= _HIGHEST_PORT):
        raise ValueError(f"control_port: expected None or 0 to {_HIGHEST_PORT}, got {port!r}")
    if token is None:
        return
    if port is None:
        raise ValueError("control_token: expected None without a control_port, got a token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
        raise ValueError("control_token: expected printable ASCII text, got something else (not shown)")
