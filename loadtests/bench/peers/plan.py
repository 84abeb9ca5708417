"""How much is done: which numbers of agents, how many requests, how many rounds."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.bench.peers.ask import CONCURRENT

__all__ = ["FULL", "QUICK", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A run. `requests`: measured per cell and round, by number of agents, or as many as `seconds` allow.

    `warm_up_seconds` bounds in the same way what comes before.
    `starts`: how often each server is started, the last time to serve; once, if that takes over two seconds.
    """

    requests: dict[int, int]
    seconds: float
    warm_up_seconds: float
    rounds: int
    starts: int
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("rounds", "starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("seconds", "warm_up_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for agents, requests in self.requests.items():
            if agents < 1 or requests < agents:
                raise ValueError(f"requests must ask each of {agents} agents, at least once, not be {requests}")

    def warm_up(self, agents: int) -> int:
        """Requests before a measurement: twice what is in flight, and each agent once."""
        return max(2 * CONCURRENT, agents)


FULL = Plan(requests={1: 2048, 64: 2048, 1024: 2048}, seconds=1.0, warm_up_seconds=2.0, rounds=3, starts=3)
QUICK = Plan(requests={1: 512, 64: 512}, seconds=0.5, warm_up_seconds=0.5, rounds=2, starts=1)
