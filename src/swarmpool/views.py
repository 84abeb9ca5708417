"""`View`: some agents of a tree, how to choose among them, and the tree's life as seen from them.

A view is a tuple of agents and a reference to the tree that all views share; there is nothing else to copy, forget or
close. The pool that was constructed is the root, and only the root opens and closes.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from swarmpool.errors import BadIndex, EmptyPool
from swarmpool.options import seconds

if TYPE_CHECKING:
    from aiohttp import ClientSession

    from swarmpool.agents import Agent
    from swarmpool.care import Care
    from swarmpool.endpoints import AgentEndpoint
    from swarmpool.limiter import Limiter
    from swarmpool.statistics import AgentStatistics, CareStatistics, PoolStatistics
    from swarmpool.tree import Tree

__all__ = ["View"]

AnyView = TypeVar("AnyView", bound="View")


class View:
    """Some agents of a tree. Views of a view are of its class, at any depth, made before, during or after entry."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._agents: tuple[Agent, ...] = tree.agents
        self._root: View | None = None  # not itself: a cycle would keep a dropped pool until the next collection

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            """A view has the attributes that a subclass gave the root; a name nobody has is an AttributeError."""
            if hasattr(type(self), name):  # a property that raised AttributeError: let it say so itself
                return object.__getattribute__(self, name)
            root = self.__dict__.get("_root")
            if root is None or name.startswith("__"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return getattr(root, name)

    # ---------------------------------------------------------------------------------------------- what it is

    @property
    def size(self) -> int:
        """Agents in this view."""
        return len(self._agents)

    @property
    def endpoints(self) -> tuple[AgentEndpoint, ...]:
        """The agents' endpoints, in the order of their indices."""
        return tuple(agent.endpoint for agent in self._agents)

    @property
    def timeout(self) -> float | None:
        """Seconds that a request may take on the wire."""
        return self._tree.options.timeout

    def statistics(self) -> PoolStatistics:
        """One frozen, consistent record of the whole tree. Works in any state."""
        return self._tree.statistics(self.size)

    def agent_statistics(self) -> list[AgentStatistics]:
        """A frozen record of each agent of this view, in the order of their indices. Works in any state."""
        return self._tree.agent_statistics(self._agents)

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        now = self.statistics()
        sockets, admission = now.connections, now.admission
        view = "" if self._root is None else f" of {now.agents}"
        return (
            f"<{type(self).__name__} {now.state.name} {self.size}{view} agents | "
            f"requests: {admission.in_flight} of {now.limit} in flight, {admission.waiting} waiting, "
            f"{now.requests.succeeded} ok, {now.requests.failed} failed | "
            f"connections: {sockets.open} of {now.connector_limit} open ({sockets.idle} idle), "
            f"{sockets.opened} opened, {sockets.reused} reused{_care(self._tree.care, now.care)}>"
        )

    # For people who read internals: the one session, the limiter, the endpoints.

    @property
    def _session(self) -> ClientSession | None:
        return self._tree.session

    @property
    def _semaphore(self) -> Limiter:
        return self._tree.limiter

    @property
    def _endpoints(self) -> tuple[AgentEndpoint, ...]:
        return self.endpoints

    # ---------------------------------------------------------------------------------------------- its life

    async def __aenter__(self) -> Self:
        """Open. Entering a sub-pool, or an open pool again, changes nothing. Raises `PoolClosed` after a close."""
        self._tree.check_open()
        if self._root is None:
            self._tree.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, drain: float = 5.0) -> None:
        """Close the tree: refuse newcomers, fail those who wait, give requests under way `drain` seconds, end the rest.

        When it returns no socket, task or timer of the tree is left. Requests that were ended are results of kind
        `closed`. It may be called often and by many at once: all return when it is done, and the soonest drain counts.
        Cancelling a caller does not stop the closing. On a sub-pool it does nothing: only the root closes.
        """
        seconds("drain", drain, zero=True)
        if self._root is None:
            await self._tree.close(drain)

    # ---------------------------------------------------------------------------------------------- views

    def by_tag(self, key: str, value: str) -> Self:
        """The agents of this view whose tag `key` is `value`."""
        return self._view(agent for agent in self._agents if agent.endpoint.tags.get(key) == value)

    def sample(self, n: int, seed: int | None = None) -> Self:
        """`n` agents of this view, clamped to its size, chosen by chance: the same for the same `seed`."""
        chance = random.Random(seed)
        return self._view(chance.sample(self._agents, max(0, min(_whole("n", n), self.size))))

    def select(self, indices: Iterable[int]) -> Self:
        """The agents at `indices` of this view, in that order. Raises `BadIndex`."""
        self._tree.check_open()
        places = [self._checked(index, f"indices[{place}]") for place, index in enumerate(indices)]
        return self._view(self._agents[index] for index in places)

    def slice(self, start: int, stop: int) -> Self:
        """The agents from `start` up to but not including `stop`, clamped to this view."""
        start, stop = _whole("start", start), _whole("stop", stop)
        return self._view(self._agents[max(start, 0) : max(stop, 0)])

    # ---------------------------------------------------------------------------------------------- the inside

    def _view(self, agents: Iterable[Agent]) -> Self:
        return self._view_as(type(self), agents)

    def _view_as(self, kind: type[AnyView], agents: Iterable[Agent]) -> AnyView:
        """A view of the same tree that may be of another class."""
        self._tree.check_open()
        view = object.__new__(kind)
        view._tree, view._agents = self._tree, tuple(agents)
        view._root = self if self._root is None else self._root
        return view

    def _checked(self, index: int, name: str = "agent_index") -> int:
        index = _whole(name, index)
        if not 0 <= index < self.size:
            raise BadIndex(f"index {index} is not one of this view's {self.size} agents (0 to {self.size - 1})")
        return index

    def _agent(self, agent_index: int) -> Agent:
        self._tree.check_open()
        agents = self._agents
        if type(agent_index) is int and 0 <= agent_index < len(agents):  # the way of nearly every call
            return agents[agent_index]
        if not agents:
            raise EmptyPool("this view has no agents")
        return agents[self._checked(agent_index)]


def _care(care: Care, now: CareStatistics) -> str:
    """What is done about agents that fail or are slow, as far as it is on."""
    on = {
        f"{now.ejected_now} ejected now": care.health is not None,
        f"{now.retried} retried": care.retry.tries > 1,
        f"{now.hedged} hedged": care.hedging is not None,
        f"routing {type(care.policy).__name__}": care.follows_policy,
    }
    shown = ", ".join(words for words, is_on in on.items() if is_on)
    return shown and f" | care: {shown}"


def _whole(name: str, value: Any) -> int:
    if type(value) is int:  # the way of nearly every call
        return value
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
