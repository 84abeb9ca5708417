"""The rooms, in the order they are told and run."""

from __future__ import annotations

from typing import Final

from fleetsim.lab.connector import connector_room
from fleetsim.lab.room import Room

__all__ = ["ROOMS"]

ROOMS: Final[tuple[Room, ...]] = (connector_room(),)
