"""The fleets of one test process: started once for each settings in use, renewed for every test that takes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetsim.errors import FleetError
from fleetsim.fleet import Fleet
from fleetsim.testing.settings import make_fleet

__all__ = ["Depot", "start"]

# Fleets kept for tests to come, the longest unused one closed first.
_KEPT = 4


class Depot:
    """Lends fleets, each running in a thread of its own. Belongs to the thread that runs the tests."""

    def __init__(self) -> None:
        self._idle: list[tuple[dict[str, Any], Fleet]] = []

    def take(self, settings: Mapping[str, Any]) -> Fleet:
        """Return a running fleet of these settings, as good as new: one given back before, or a new one.

        Raises what making and starting a fleet raises.
        """
        for index, (made_of, fleet) in enumerate(self._idle):
            if made_of == settings:
                del self._idle[index]
                return fleet
        return start(settings)

    def give_back(self, settings: Mapping[str, Any], fleet: Fleet) -> None:
        """Renew the fleet for the next test; where that cannot be, as with a server that is dead, close it."""
        try:
            fleet.run(fleet.renew())
        except FleetError:
            stop(fleet)
            return
        self._idle.append((dict(settings), fleet))
        while len(self._idle) > _KEPT:
            stop(self._idle.pop(0)[1])

    def close(self) -> None:
        """Close every fleet that was given back."""
        while self._idle:
            stop(self._idle.pop()[1])


def start(settings: Mapping[str, Any]) -> Fleet:
    """Return a new running fleet; `stop` ends it."""
    return make_fleet(settings).start_in_thread()


def stop(fleet: Fleet) -> None:
    fleet.__exit__(None, None, None)
