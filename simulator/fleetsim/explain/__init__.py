"""What an engine would do with a load, worked out on paper: no sockets, no waiting, the same for the same seed."""

from fleetsim.explain.figures import Figures, Spread
from fleetsim.explain.paper import play
from fleetsim.explain.workload import Workload

__all__ = ["Figures", "Spread", "Workload", "play"]
