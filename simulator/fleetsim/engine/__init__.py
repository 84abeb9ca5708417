"""What a GPU would do: when each token of a request is there."""

from fleetsim.engine.jobs import Engine, Generation, Job
from fleetsim.engine.latency import LatencyEngine

__all__ = ["Engine", "Generation", "Job", "LatencyEngine"]
