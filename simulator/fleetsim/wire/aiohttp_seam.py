"""Everything of aiohttp that is not public and that we lean on, in one place.

`SeamConnection` is aiohttp's server protocol with its request loop left out: aiohttp parses (`data_received`), we take
the parsed messages one by one (`next_message`). Works alike on aiohttp 3.12.15 to 3.14, where they differ:

- 3.14 counts messages the parser has handed out and stops at 32 until told that they were consumed; 3.12 does not.
- 3.14 arms its keep-alive timer when a connection is made; `keepalive_timeout=0` switches it off everywhere.
- 3.14 refuses HTTP/1.1 without a Host header; 3.12 and uvicorn do not. This difference is left to be seen.

What is read or set here: `_messages`, `_waiter`, `_loop`, `_paused`, `_reading_paused` and `_drain_helper` of
`RequestHandler`, and since 3.14 `_parser`, `_buffer_paused`, `_msg_queue_resume_size` and `_resume_reading_if_drained`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

if TYPE_CHECKING:
    from aiohttp.web_server import Server

__all__ = ["SeamConnection", "TakesBytes"]

# llhttp and uvicorn set no limit; these are limits aiohttp insists on having.
_NO_LIMIT = 2**30

_COUNTS_MESSAGES = hasattr(RequestHandler, "_resume_reading_if_drained")


class TakesBytes(Protocol):
    """What comes after an upgrade."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the client's; must not raise, and returns False and b""."""

    def feed_eof(self) -> None:
        """The connection is lost."""


class SeamConnection(RequestHandler):
    """One accepted connection, parsed by aiohttp and answered by a subclass's `start`."""

    __slots__ = ()

    def __init__(self, manager: Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=0,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]  # aiohttp documents None as off and does not type it so
            max_line_size=_NO_LIMIT,
            max_headers=_NO_LIMIT,
            max_field_size=_NO_LIMIT,
            auto_decompress=False,
        )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def has_message(self) -> bool:
        """Whether a parsed request waits: the client has pipelined."""
        return bool(self._messages)

    def resume_reading(self, *args: bool, **kwargs: bool) -> None:
        # aiohttp 3.14 asks for this at every read and has the parser look again each time; unpaused, it would find
        # nothing.
        if self._reading_paused:
            super().resume_reading(*args, **kwargs)

    async def drain(self) -> None:
        """Wait until the transport takes more; at once if it does now. One caller at a time."""
        if self._paused:
            await self._drain_helper()

    def hand_over(self, taker: TakesBytes) -> None:
        """After a message that leaves HTTP: give `taker` every byte that has come behind it, or comes."""
        self.set_parser(taker)  # type: ignore[arg-type]  # typed for aiohttp's own reader, and asks no more than this

    async def next_message(self) -> tuple[RawRequestMessage | None, StreamReader]:
        """Return the next request's head and its body's reader; None in place of a head that cannot be parsed.

        Cancelled when the connection is lost. One caller at a time.
        """
        if not self._messages:
            try:
                self._waiter = self._loop.create_future()
                await self._waiter
            finally:
                self._waiter = None
        message, body = self._messages.popleft()
        if _COUNTS_MESSAGES:
            self._message_taken()
        return (message if isinstance(message, RawRequestMessage) else None), body

    def _message_taken(self) -> None:
        parser: Any = self._parser
        if parser is not None:
            parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
