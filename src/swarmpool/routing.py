"""Which agent gets a request that names none: small policies over what is known of the agents. Pure.

A policy is anything with `choose(candidates, key)`. It sees a view through `Candidates`, and answers with the place of
an agent that is `fit`, or None if none is. It is asked again for each further try of a request, when those tried before
are fit no more. Policies that remember something (whose turn it is) remember it for all views of the pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swarmpool.agents import Agent
    from swarmpool.endpoints import AgentEndpoint

__all__ = ["Candidates", "Key", "LeastInFlight", "Policy", "PowerOfTwo", "RoundRobin", "Sticky", "Weighted"]

Key = str | bytes | int
"""What requests that belong together have in common: a session, a prefix, a user."""

_GUESSES = 8  # pairs that chance may propose before all agents are looked at


class Candidates:
    """The agents of a view as a policy sees them, by place."""

    __slots__ = ("_agents", "_fit", "random")

    def __init__(self, agents: Sequence[Agent], fit: Callable[[int], bool], random: Random) -> None:
        self._agents = agents
        self._fit = fit
        self.random = random
        """The pool's chance: the same for the same `seed`."""

    def __len__(self) -> int:
        return len(self._agents)

    def fit(self, place: int) -> bool:
        """Whether this request may go there: not tried yet, and its breaker lets it through."""
        return self._fit(place)

    def load(self, place: int) -> int:
        """Requests in flight to that agent and waiting for it, over the whole tree."""
        return self._agents[place].load

    def endpoint(self, place: int) -> AgentEndpoint:
        """Where it is, with its tags."""
        return self._agents[place].endpoint

    def all_fit(self) -> Iterator[int]:
        """Every place that is fit, in order."""
        return filter(self._fit, range(len(self._agents)))


@runtime_checkable
class Policy(Protocol):
    """Chooses an agent. `key` is the caller's, or None."""

    def choose(self, candidates: Candidates, key: Key | None) -> int | None:
        """The place of a fit agent; None if there is none."""


class RoundRobin:
    """Each agent in turn, passing over those that are not fit. O(1) while all are."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, candidates: Candidates, key: Key | None = None) -> int | None:  # noqa: ARG002 - a Policy's signature
        """The next one whose turn it is."""
        size = len(candidates)
        for step in range(size):
            place = (self._next + step) % size
            if candidates.fit(place):
                self._next = place + 1
                return place
        return None


class LeastInFlight:
    """The agent with the fewest requests in flight and waiting; chance decides among equals. O(agents)."""

    def choose(self, candidates: Candidates, key: Key | None = None) -> int | None:  # noqa: ARG002 - a Policy's signature
        """The least loaded."""
        chance = candidates.random
        return min(candidates.all_fit(), key=lambda place: (candidates.load(place), chance.random()), default=None)


class PowerOfTwo:
    """The less loaded of two that chance proposes: nearly as even as `LeastInFlight`, O(1) while most are fit.

    Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001).
    """

    def choose(self, candidates: Candidates, key: Key | None = None) -> int | None:  # noqa: ARG002 - a Policy's signature
        """The less loaded of two."""
        size, chance = len(candidates), candidates.random
        if size < 2:
            return next(candidates.all_fit(), None)
        for _ in range(_GUESSES):
            one, other = chance.randrange(size), chance.randrange(size - 1)
            pair = [place for place in (one, other + (other >= one)) if candidates.fit(place)]
            if pair:
                return min(pair, key=candidates.load)
        left = list(candidates.all_fit())
        return min(chance.sample(left, min(2, len(left))), key=candidates.load, default=None)


class Weighted:
    """By chance, in proportion to each agent's weight: a tag of its endpoint (1 where it has none). O(agents).

    An agent of weight 0 gets nothing. A tag that is no such number is a ValueError that names it.
    """

    def __init__(self, tag: str = "weight") -> None:
        self._tag = tag

    def choose(self, candidates: Candidates, key: Key | None = None) -> int | None:  # noqa: ARG002 - a Policy's signature
        """One of those with a weight."""
        weighted = [(place, self._weight(candidates.endpoint(place))) for place in candidates.all_fit()]
        places = [(place, weight) for place, weight in weighted if weight > 0]
        if not places:
            return None
        return candidates.random.choices([place for place, _ in places], [weight for _, weight in places])[0]

    def _weight(self, endpoint: AgentEndpoint) -> float:
        text = endpoint.tags.get(self._tag, "1")
        try:
            weight = float(text)
        except ValueError:
            weight = -1.0
        if not 0 <= weight < float("inf"):
            raise ValueError(f"the tag {self._tag} of {endpoint.url} must be a number of at least 0, not {text!r}")
        return weight


class Sticky:
    """The same agent for the same `key`, as long as it is fit: sessions, and prompts that share a cached prefix.

    Rendezvous hashing (Thaler and Ravishankar, 1996): of n agents, one that goes away moves only its own keys, a 1/n of
    all, and they come back with it. The same in every process and on every machine. Requests without a key go by
    `otherwise`. O(agents).
    """

    def __init__(self, otherwise: Policy | None = None) -> None:
        self._otherwise = RoundRobin() if otherwise is None else otherwise

    def choose(self, candidates: Candidates, key: Key | None) -> int | None:
        """The key's own agent, or the next best that is fit."""
        if key is None:
            return self._otherwise.choose(candidates, None)
        hashed = blake2b(_bytes(key), digest_size=32).digest()
        return max(candidates.all_fit(), key=lambda place: _score(hashed, candidates.endpoint(place)), default=None)


def _score(key: bytes, endpoint: AgentEndpoint) -> bytes:
    return blake2b(endpoint.url.encode(), digest_size=8, key=key).digest()


def _bytes(key: Key) -> bytes:
    """Different keys give different bytes, also those of different types."""
    if isinstance(key, str):
        return b"s" + key.encode("utf-8", "surrogatepass")
    if isinstance(key, bytes):
        return b"b" + key
    if isinstance(key, bool) or not isinstance(key, int):
        raise TypeError(f"key must be text, bytes or a whole number, not {type(key).__name__}")
    return b"i%d" % key
