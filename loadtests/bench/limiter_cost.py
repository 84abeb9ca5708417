"""What an acquire and a release cost, by how many wait and how many agents there are.

A full limiter with a constant number of waiters: each round frees a slot, which wakes the oldest waiter, who queues
again. The cost of a round must not depend on the length of the queue, nor, but for a logarithm, on the agents.
"""

from __future__ import annotations

import time

from loadtests.bench.measure import Figure, paired_ratio, quiet_gc
from swarmpool.admission import Admission, Ticket

__all__ = ["limiter_cost"]

_ROUNDS = 20_000
_SLOTS = 512


class _Queue:
    """An `Admission` that is full, with `waiting` tickets over `agents` agents."""

    def __init__(self, waiting: int, agents: int) -> None:
        self._served: list[int] = []
        self._agents = agents
        self._admission = Admission(capacity=_SLOTS, capacity_per_agent=_SLOTS, hand_over=self._serve)
        self._turn = 0
        self._holders = [self._next_agent() for _ in range(_SLOTS)]
        for agent in self._holders:
            assert self._admission.admit(agent)
        for _ in range(waiting):
            self._admission.enqueue(self._next_agent(), None)

    def _next_agent(self) -> int:
        self._turn += 1
        return self._turn % self._agents

    def _serve(self, ticket: Ticket) -> bool:
        agent = ticket.agent
        assert isinstance(agent, int)
        self._served.append(agent)
        return True

    def seconds(self, rounds: int) -> float:
        """Seconds for `rounds` of release, hand-over and enqueue."""
        admission, served, holders = self._admission, self._served, self._holders
        with quiet_gc():
            start = time.perf_counter()
            for turn in range(rounds):
                place = turn % _SLOTS
                admission.release(holders[place])
                holders[place] = served.pop()
                admission.enqueue(self._next_agent(), None)
            return time.perf_counter() - start


def limiter_cost(rounds: int = 9) -> list[Figure]:
    """Ratios: 10,000 waiters to 10 with one agent, the same with 4,000 agents, and 4,000 agents to one."""
    cases = {
        (waiting, agents): _Queue(waiting, agents)
        for waiting, agents in ((10, 1), (10_000, 1), (10, 4_000), (10_000, 4_000))
    }
    for queue in cases.values():
        queue.seconds(_ROUNDS // 4)
    runs = [{case: queue.seconds(_ROUNDS) for case, queue in cases.items()} for _ in range(rounds)]

    def figure(name: str, upper: tuple[int, int], lower: tuple[int, int]) -> Figure:
        ratio, low, high = paired_ratio([(run[upper], run[lower]) for run in runs])
        per_round = min(run[upper] for run in runs) / _ROUNDS * 1e6
        detail = f"{per_round:.2f} us a round at best; quartiles {low:.2f} to {high:.2f} of {rounds} pairs"
        return Figure(name, ratio, "x", "<= 1.5", ratio <= 1.5, detail)

    return [
        figure("limiter, 10,000 waiters : 10, one agent", (10_000, 1), (10, 1)),
        figure("limiter, 10,000 waiters : 10, 4,000 agents", (10_000, 4_000), (10, 4_000)),
        figure("limiter, 4,000 agents : 1, 10 waiters", (10, 4_000), (10, 1)),
    ]
