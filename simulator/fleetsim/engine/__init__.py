"""What a GPU would do: when each token of a request is there."""

from fleetsim.engine.halted import HaltedEngine
from fleetsim.engine.halts import AbortedError, EngineDeadError, EngineHaltedError, Halt, PausedError
from fleetsim.engine.jobs import Engine, Generation, Job
from fleetsim.engine.latency import LatencyEngine

__all__ = [
    "AbortedError",
    "Engine",
    "EngineDeadError",
    "EngineHaltedError",
    "Generation",
    "Halt",
    "HaltedEngine",
    "Job",
    "LatencyEngine",
    "PausedError",
]
