"""The fixture `fleet` in a simulated test: not a fleet yet, but one on the loop of each of its runs.

simkernel asks any fixture's value for `__simulated__`, and so neither package needs the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fleetsim.fleet import Fleet
from fleetsim.testing.journal import Account, account_of
from fleetsim.testing.settings import make_fleet

__all__ = ["InEachRun"]


class InEachRun:
    """Enters a fleet of these settings in each run, and hands what its ledger says at the end to `keep`."""

    def __init__(self, settings: Mapping[str, Any], keep: Callable[[Account], None]) -> None:
        self._settings, self._keep = settings, keep

    def __repr__(self) -> str:
        return "<fleet, entered in each run of a simulated test>"

    @asynccontextmanager
    async def __simulated__(self, net: Any) -> AsyncIterator[Fleet]:
        """A fleet whose seed is the run's, where the settings have none."""
        async with make_fleet({"seed": net.seed, **self._settings}) as fleet:
            try:
                yield fleet
            finally:
                self._keep(account_of(fleet))
