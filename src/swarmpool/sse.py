"""Server-sent events, from bytes in any pieces to the data of whole events. No I/O.

A line may be cut anywhere, also inside a UTF-8 character: bytes are joined before anything is decoded. Comments (vLLM's
`: keep-alive`) and fields other than `data` are skipped, several data lines join with a newline, and the space behind
`data:` is optional. Lines end in LF, CR LF or CR; a byte order mark before the first is no part of it. An event that
the stream's end cuts short is not delivered (WHATWG HTML, "server-sent events").
"""

from __future__ import annotations

__all__ = ["DONE", "EventParser"]

DONE = b"[DONE]"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Collects bytes; `feed` returns the events they complete."""

    __slots__ = ("_after_cr", "_begun", "_data", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._begun = self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that `piece` completes, in order."""
        if self._after_cr or b"\r" in piece:
            piece = self._with_plain_ends(piece)
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if lines and not self._begun:
            self._begun, lines[0] = True, lines[0].removeprefix(_BYTE_ORDER_MARK)
        events = []
        for line in lines:
            event = self._line(line)
            if event is not None:
                events.append(event)
        return events

    def _with_plain_ends(self, piece: bytes) -> bytes:
        """`piece` with LF for every end of a line; the LF of a CR LF may come in the next one."""
        if not piece:
            return piece
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _line(self, line: bytes) -> bytes | None:
        if not line:
            data, self._data = self._data, []
            return b"\n".join(data) if data else None
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        return None
