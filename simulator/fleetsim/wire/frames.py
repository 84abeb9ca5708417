"""The frames of a websocket (RFC 6455), without a socket: bytes in, whole messages and control frames out, and back.

Mistakes of the client raise `ProtocolError` with the close code and the reason that vLLM's server gives for them, in
the order in which it looks: opcode, masking, size; reserved bits and the rules for control frames once the frame is in
(uvicorn 0.54 protocols/websockets/websockets_sansio_impl.py on websockets 17 frames.py and protocol.py).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from fleetsim.wire.websocket_settings import is_sendable_code

__all__ = ["FrameReader", "Inflating", "Opcode", "ProtocolError", "Received", "close_code", "frame", "whole_close"]

_RSV1, _RSV2_OR_3 = 0x40, 0x30
_FIN, _MASKED = 0x80, 0x80
_LONGEST_CONTROL = 125
_HEADER_LENGTH = {126: 4, 127: 10}

NO_CODE = 1005
PROTOCOL_ERROR = 1002
INVALID_TEXT = 1007
TOO_BIG = 1009


class Opcode(enum.IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_OPCODES = {int(opcode): opcode for opcode in Opcode}
_WHOLE = frozenset({_FIN | Opcode.TEXT, _FIN | Opcode.BINARY})


class ProtocolError(Exception):
    """The client broke the protocol: the connection is to be closed with this code and reason."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Received(NamedTuple):
    """A whole message (TEXT or BINARY, put together and inflated) or a control frame."""

    opcode: Opcode
    data: bytes


class Inflating(Protocol):
    """What a reader needs of the extension that compresses messages."""

    def inflate(self, data: bytes, most: int, *, last: bool) -> bytes:
        """Return one frame's data, inflated, or the first `most` bytes of more. Raises ProtocolError."""


def frame(opcode: Opcode, data: bytes, *, last: bool = True, compressed: bool = False) -> bytes:
    """Return one frame as a server sends it: unmasked."""
    first_byte = (_FIN if last else 0) | (_RSV1 if compressed else 0) | opcode
    length = len(data)
    if length < 126:
        return bytes((first_byte, length)) + data
    if length < 1 << 16:
        return struct.pack("!BBH", first_byte, 126, length) + data
    return struct.pack("!BBQ", first_byte, 127, length) + data


def whole_close(code: int, reason: str = "") -> bytes:
    """Return a close frame with a code and a reason; a reason too long for one frame is cut."""
    said = reason.encode()[: _LONGEST_CONTROL - 2].decode(errors="ignore").encode()
    return frame(Opcode.CLOSE, struct.pack("!H", code) + said)


def close_code(data: bytes) -> int:
    """Return the code that a close frame's data says; 1005 where it says none. Raises ProtocolError."""
    if not data:
        return NO_CODE
    if len(data) == 1:
        raise ProtocolError(PROTOCOL_ERROR, "close frame too short")
    (code,) = struct.unpack_from("!H", data)
    try:
        data[2:].decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(INVALID_TEXT, f"{error.reason} at position {error.start}") from error
    if is_sendable_code(code):
        return int(code)
    raise ProtocolError(PROTOCOL_ERROR, "invalid status code")


class _Header(NamedTuple):
    first_byte: int
    opcode: Opcode
    length: int
    """Of the data, in bytes."""
    size: int
    """Of the header with its mask, in bytes."""

    @property
    def last(self) -> bool:
        return bool(self.first_byte & _FIN)


class FrameReader:
    """Puts a client's bytes together. `max_size`: of a message, in bytes, once inflated."""

    def __init__(self, max_size: int, inflating: Inflating | None = None) -> None:
        self._max_size, self._inflating = max_size, inflating
        self._buffer = bytearray()
        self._kind: Opcode | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._compressed = False

    def feed(self, data: bytes) -> Iterator[Received]:
        """Yield what is whole by now. Raises ProtocolError, after what came before the mistake."""
        self._buffer += data
        while (header := self._header()) is not None and len(self._buffer) >= header.size + header.length:
            payload = self._cut(header)
            received = self._taken(header, payload)
            if received is not None:
                yield received

    def _header(self) -> _Header | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first_byte, second = buffer[0], buffer[1]
        opcode = _OPCODES.get(first_byte & 0x0F)
        if opcode is None:
            raise ProtocolError(PROTOCOL_ERROR, "invalid opcode")
        if not second & _MASKED:
            raise ProtocolError(PROTOCOL_ERROR, "incorrect masking")
        length = second & 0x7F
        size = _HEADER_LENGTH.get(length, 2)
        if len(buffer) < size:
            return None
        if size > 2:
            length = int.from_bytes(buffer[2:size])
        self._check_size(length)
        return _Header(first_byte, opcode, length, size + 4)

    def _check_size(self, length: int) -> None:
        if self._size + length > self._max_size:
            raise self._too_big(f"frame with {length} bytes")

    def _too_big(self, what: str) -> ProtocolError:
        read = f" after reading {self._size} bytes" if self._kind is not None else ""
        return ProtocolError(TOO_BIG, f"{what}{read} exceeds limit of {self._max_size} bytes")

    def _cut(self, header: _Header) -> bytes:
        end = header.size + header.length
        mask, masked = bytes(self._buffer[header.size - 4 : header.size]), self._buffer[header.size : end]
        del self._buffer[:end]
        return _unmasked(masked, mask)

    def _taken(self, header: _Header, data: bytes) -> Received | None:
        if header.first_byte in _WHOLE and self._kind is None:
            return Received(header.opcode, data)  # which is what nearly all are
        if header.opcode >= Opcode.CLOSE:
            return self._control(header, data)
        data = self._inflated(header, data)
        self._check_order(header)
        if header.opcode is not Opcode.CONTINUATION:
            self._kind = header.opcode
        self._parts.append(data)
        self._size += len(data)
        return self._message() if header.last else None

    def _control(self, header: _Header, data: bytes) -> Received:
        if header.first_byte & (_RSV1 | _RSV2_OR_3):
            raise ProtocolError(PROTOCOL_ERROR, "reserved bits must be 0")
        if header.length > _LONGEST_CONTROL:
            raise ProtocolError(PROTOCOL_ERROR, "control frame too long")
        if not header.last:
            raise ProtocolError(PROTOCOL_ERROR, "fragmented control frame")
        if header.opcode is Opcode.CLOSE and self._kind is not None:
            raise ProtocolError(PROTOCOL_ERROR, "incomplete fragmented message")
        return Received(header.opcode, data)

    def _inflated(self, header: _Header, data: bytes) -> bytes:
        first = header.opcode is not Opcode.CONTINUATION
        bits = header.first_byte & (_RSV1 | _RSV2_OR_3)
        if first:
            self._compressed = bits == _RSV1 and self._inflating is not None
        if bits and not (first and self._compressed):
            raise ProtocolError(PROTOCOL_ERROR, "reserved bits must be 0")
        if self._inflating is None or not self._compressed:
            return data
        # One byte more than allowed tells too much from just enough.
        most = self._max_size - self._size
        plain = self._inflating.inflate(data, most + 1, last=header.last)
        if len(plain) > most:
            raise self._too_big("frame")
        return plain

    def _check_order(self, header: _Header) -> None:
        continues = header.opcode is Opcode.CONTINUATION
        if continues and self._kind is None:
            raise ProtocolError(PROTOCOL_ERROR, "unexpected continuation frame")
        if not continues and self._kind is not None:
            raise ProtocolError(PROTOCOL_ERROR, "expected a continuation frame")

    def _message(self) -> Received:
        assert self._kind is not None
        received = Received(self._kind, b"".join(self._parts))
        self._kind, self._parts, self._size = None, [], 0
        return received


def _unmasked(data: bytearray, mask: bytes) -> bytes:
    # As one large number: a loop over the bytes costs a hundred times as much.
    length = len(data)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data) ^ int.from_bytes(repeated)).to_bytes(length)
