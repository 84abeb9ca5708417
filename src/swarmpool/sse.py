"""Server-sent events, from bytes in any pieces to the data of whole events. No I/O.

A line may be cut anywhere, also inside a UTF-8 character: bytes are joined before anything is decoded. Comments (vLLM's
`: keep-alive`) and fields other than `data` are skipped, several data lines join with a newline, and the space behind
`data:` is optional. An event that the stream's end cuts short is not delivered (WHATWG HTML, "server-sent events").
"""

from __future__ import annotations

__all__ = ["DONE", "EventParser"]

DONE = b"[DONE]"


class EventParser:
    """Collects bytes; `feed` returns the events they complete."""

    __slots__ = ("_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that `piece` completes, in order."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        events = []
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                events.append(event)
        return events

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            data, self._data = self._data, []
            return b"\n".join(data) if data else None
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        return None
