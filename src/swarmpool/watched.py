"""A websocket that is listened to while nobody uses it.

An idle websocket whose peer has closed still says `closed == False`: aiohttp reads frames only inside `receive`. It
does not answer pings either, so a server that pings (uvicorn: every 20 s, and waits 20 s) closes whatever lies idle. So
while it is idle one `receive` is always under way here: it answers pings, and when anything else comes, the watcher is
told.

What is hard: that `receive` must not be cancelled when somebody wants the websocket, for aiohttp marks a websocket
whose `receive` was cancelled as closed abnormally. It stays under way, and the next caller of `receive` gets what it
brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import ClientWebSocketResponse, WSMessage, WSMsgType

from swarmpool.connector import abort, has_unread

if TYPE_CHECKING:
    _Base = ClientWebSocketResponse[Literal[True]]
else:
    _Base = ClientWebSocketResponse  # generic since aiohttp 3.14 only

__all__ = ["WatchedWebSocket"]

_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class WatchedWebSocket(_Base):
    """aiohttp's websocket, to be given to a session as `ws_response_class`. Used as any other."""

    _under_way: asyncio.Task[Any] | None = None
    _told: Callable[[str], None] | None = None

    def watch(self, told: Callable[[str], None]) -> None:
        """Listen, and call `told` once with the reason when it has become unfit: closed, or spoken on out of turn.

        Not to be called while a `receive` is under way. It never calls back before it has returned.
        """
        self._told = told
        if self._under_way is None:
            self._under_way = asyncio.get_running_loop().create_task(super().receive())
            self._under_way.add_done_callback(self._came)
        elif self._under_way.done():
            asyncio.get_running_loop().call_soon(self._came, self._under_way)

    def unwatch(self) -> bool:
        """Somebody uses it from now on: what comes is for `receive`. False if it is unfit already."""
        self._told = None
        return not (self.closed or has_unread(self) or (self._under_way is not None and self._under_way.done()))

    async def receive(self, timeout: float | None = None) -> Any:
        """aiohttp's. Cancelling it, or letting it time out, loses no message."""
        if self._under_way is None:
            return await super().receive(timeout)
        await asyncio.wait([self._under_way], timeout=timeout)
        if not self._under_way.done():
            raise TimeoutError
        came, self._under_way = self._under_way, None
        return came.result()

    def abort(self) -> None:
        """End its connection now, whatever has not been sent: a peer that reads no more would hold it open."""
        abort(self)

    def _came(self, came: asyncio.Task[Any]) -> None:
        reason = _reason(came)  # which looks at its exception: asyncio would complain of one that nobody asks for
        told, self._told = self._told, None
        if told is not None:
            told(reason)


def _reason(came: asyncio.Task[Any]) -> str:
    if came.cancelled():
        return "nobody listens to it any more"
    error = came.exception()
    if error is not None:
        return f"{type(error).__name__}: {error}"
    message: WSMessage = came.result()
    if message.type is WSMsgType.CLOSE:
        return f"the peer closed it with code {message.data}"
    return "its connection was lost" if message.type in _ENDS else "the peer spoke out of turn"
