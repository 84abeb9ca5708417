"""simkernel: an asyncio program in a world of its own, where time, chance and the network come from one seed.

    import simkernel

    result = simkernel.run(main, seed=4711, latency=0.005)

`main(net)` is a coroutine function; whatever it does with asyncio and sockets happens on a simulated kernel.
"""

from simkernel.errors import SimDeadlock, SimDivergence, SimError, SimEscape, SimLivelock
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
    "Statistics",
    "Unhandled",
    "attempt",
    "run",
    "shrink",
    "verify",
]
