"""The rooms, in the order they are told and run."""

from __future__ import annotations

from typing import Final

from fleetsim.lab.closing import READER_HANGS, UNCLOSED
from fleetsim.lab.connector import connector_room
from fleetsim.lab.keys import SSL_MISMATCH
from fleetsim.lab.limits import LIMIT_BYPASS, LIMIT_SOCKETS, LOST_WAKE_UP
from fleetsim.lab.racing import DESYNC, KEEPALIVE_RACE
from fleetsim.lab.releasing import BREAK_AT_DONE, EAGER_EOF, UNREAD_EXIT
from fleetsim.lab.room import Room

__all__ = ["ROOMS"]

ROOMS: Final[tuple[Room, ...]] = (
    connector_room(),
    EAGER_EOF,
    UNREAD_EXIT,
    BREAK_AT_DONE,
    KEEPALIVE_RACE,
    LIMIT_BYPASS,
    LIMIT_SOCKETS,
    SSL_MISMATCH,
    LOST_WAKE_UP,
    DESYNC,
    READER_HANGS,
    UNCLOSED,
)
