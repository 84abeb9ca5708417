"""The line of callers without a connection, in order of arrival.

A caller can come back: the connection it was handed failed its check. It was first in line then, so it stands before
everybody who waits, and among others that came back in order of arrival. There are few of those at any time.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict

__all__ = ["Line", "Ticket"]


class Ticket:
    """A place in the line. `number` is the order of arrival; `owner` is the shell's."""

    __slots__ = ("arrived", "number", "owner")

    def __init__(self, number: int, arrived: float, owner: object = None) -> None:
        self.number = number
        self.arrived = arrived
        self.owner = owner


class Line:
    """Tickets, oldest first. All methods cost the same however many wait."""

    __slots__ = ("_newcomers", "_returned")

    def __init__(self) -> None:
        self._newcomers: OrderedDict[int, Ticket] = OrderedDict()
        self._returned: list[Ticket] = []

    def __len__(self) -> int:
        return len(self._newcomers) + len(self._returned)

    def join(self, ticket: Ticket) -> None:
        """Stand at the end."""
        self._newcomers[ticket.number] = ticket

    def rejoin(self, ticket: Ticket) -> None:
        """Stand where a caller belongs that had been served: before all who came later."""
        bisect.insort(self._returned, ticket, key=lambda other: other.number)

    def leave(self, ticket: Ticket) -> bool:
        """Leave the line; False if the ticket is not in it."""
        if self._newcomers.pop(ticket.number, None) is not None:
            return True
        if ticket in self._returned:
            self._returned.remove(ticket)
            return True
        return False

    def pop(self) -> Ticket | None:
        """Take out whoever is first, or None if nobody waits."""
        if self._returned:
            return self._returned.pop(0)
        return self._newcomers.popitem(last=False)[1] if self._newcomers else None
