"""permessage-deflate (RFC 7692) as vLLM's server negotiates it: windows of at most 12 bits, contexts kept.

From uvicorn 0.54 (protocols/websockets/websockets_sansio_impl.py: server_max_window_bits=12, client_max_window_bits=12,
memLevel 5) and websockets 17 (extensions/permessage_deflate.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from fleetsim.wire.frames import PROTOCOL_ERROR, ProtocolError

__all__ = ["Deflate", "negotiate"]

NAME = "permessage-deflate"

_BITS, _MEMORY = 12, 5
_FEWEST_BITS, _MOST_BITS = 8, 15
_BITS_WRITTEN = frozenset(map(str, range(_FEWEST_BITS, _MOST_BITS + 1)))
_ALLOWED: dict[str, frozenset[str | None]] = {
    "server_no_context_takeover": frozenset({None}),
    "client_no_context_takeover": frozenset({None}),
    "server_max_window_bits": _BITS_WRITTEN,
    "client_max_window_bits": _BITS_WRITTEN | {None},
}
# zlib makes no window of 8 bits (madler/zlib#171).
_UNSUPPORTED_BITS = 8
_TAIL = b"\x00\x00\xff\xff"


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides keep to; `client_bits` None leaves the client its 15."""

    server_forgets: bool
    client_forgets: bool
    server_bits: int
    client_bits: int | None

    def header(self) -> str:
        """Return the response's Sec-WebSocket-Extensions."""
        parts = [NAME]
        parts += ["server_no_context_takeover"] * self.server_forgets
        parts += ["client_no_context_takeover"] * self.client_forgets
        parts.append(f"server_max_window_bits={self.server_bits}")
        if self.client_bits is not None:
            parts.append(f"client_max_window_bits={self.client_bits}")
        return "; ".join(parts)


def negotiate(offers: str) -> Deflate | None:
    """Return what comes of the request's Sec-WebSocket-Extensions: the first offer that can be met, or None."""
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        agreed = _agreed(parameters) if name == NAME else None
        if agreed is not None:
            return Deflate(agreed)
    return None


def _agreed(parameters: list[str]) -> Agreed | None:
    given: dict[str, str | None] = {}
    for parameter in parameters:
        key, equals, value = (part.strip() for part in parameter.partition("="))
        if key in given:
            return None
        given[key] = value.strip('"') if equals else None
    return _met(given) if _is_valid(given) else None


def _is_valid(given: Mapping[str, str | None]) -> bool:
    return all(key in _ALLOWED and value in _ALLOWED[key] for key, value in given.items())


def _met(given: Mapping[str, str | None]) -> Agreed | None:
    server_bits = min(_BITS, int(given.get("server_max_window_bits") or _MOST_BITS))
    if server_bits == _UNSUPPORTED_BITS:
        return None
    client_bits = None
    if "client_max_window_bits" in given:
        client_bits = min(_BITS, int(given["client_max_window_bits"] or _MOST_BITS))
    forgets = ("server_no_context_takeover" in given, "client_no_context_takeover" in given)
    return Agreed(*forgets, server_bits, client_bits)


class Deflate:
    """One websocket's compression, both ways. `header` is what the handshake's response says of it."""

    def __init__(self, agreed: Agreed) -> None:
        self.header = agreed.header()
        self._agreed = agreed
        self._inflater = zlib.decompressobj(-(agreed.client_bits or _MOST_BITS))
        self._deflater = self._new_deflater()

    def _new_deflater(self) -> zlib._Compress:
        return zlib.compressobj(wbits=-self._agreed.server_bits, memLevel=_MEMORY)

    def inflate(self, data: bytes, most: int, *, last: bool) -> bytes:
        """Return one frame's data, inflated, or the first `most` bytes of more. Raises ProtocolError.

        `last` of its message. What a client forgets between messages it never refers to, so nothing is to be done.
        """
        try:
            return self._inflater.decompress(data + (_TAIL if last else b""), most)
        except zlib.error as error:
            raise ProtocolError(PROTOCOL_ERROR, "decompression failed") from error

    def deflate(self, data: bytes) -> bytes:
        """Return a whole message, compressed."""
        if self._agreed.server_forgets:
            self._deflater = self._new_deflater()
        return (self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)).removesuffix(_TAIL)
