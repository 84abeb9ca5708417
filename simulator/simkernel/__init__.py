"""simkernel: an asyncio program in a world of its own, where time, chance and the network come from one seed.

    import simkernel

    result = simkernel.run(main, seed=4711, latency=0.005)

`main(net)` is a coroutine function; whatever it does with asyncio and sockets happens on a simulated kernel.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simkernel.errors import SimDeadlock, SimDivergence, SimError, SimEscape, SimLivelock, SimUnhandled
    from simkernel.faults import Fault, Net
    from simkernel.hosts import Host
    from simkernel.loop import SimLoop
    from simkernel.running import Main, Result, Unhandled, attempt, run, verify
    from simkernel.settings import Settings
    from simkernel.shrinking import shrink
    from simkernel.statistics import Statistics

__all__ = [
    "Fault",
    "Host",
    "Main",
    "Net",
    "Result",
    "Settings",
    "SimDeadlock",
    "SimDivergence",
    "SimError",
    "SimEscape",
    "SimLivelock",
    "SimLoop",
    "SimUnhandled",
    "Statistics",
    "Unhandled",
    "attempt",
    "run",
    "shrink",
    "verify",
]

_HOMES = {
    "simkernel.errors": (
        "SimDeadlock",
        "SimDivergence",
        "SimError",
        "SimEscape",
        "SimLivelock",
        "SimUnhandled",
    ),
    "simkernel.faults": ("Fault", "Net"),
    "simkernel.hosts": ("Host",),
    "simkernel.loop": ("SimLoop",),
    "simkernel.running": ("Main", "Result", "Unhandled", "attempt", "run", "verify"),
    "simkernel.settings": ("Settings",),
    "simkernel.shrinking": ("shrink",),
    "simkernel.statistics": ("Statistics",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    # Late: pytest loads our plugin, and with it this package, in every run of everybody who has it.
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
