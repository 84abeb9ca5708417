"""Kinds of pools that can be hunted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleetsim.api.embeddings import _vector
from fleetsim.text import snapshot
from hunt.steps import Setup
from swarmpool import AgentPool, VLLMPool
from swarmpool.health import Health
from swarmpool.hedging import Hedge
from swarmpool.retry import Retry
from swarmpool.routing import LeastInFlight, Policy, PowerOfTwo, RoundRobin, Sticky

__all__ = ["AGENT_POOL", "DIMENSIONS", "VLLM_POOL", "Kind", "vector"]

DIMENSIONS = 4
"""Of a vector."""


def _plain(prompt: str) -> str:
    return prompt


def _chat(prompt: str) -> str:
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True, slots=True)
class Kind:
    """How to make a pool of one kind, and what its agents answer.

    `make(endpoints, setup)` returns it. `as_seen(prompt)` is the prompt as the model sees it when it comes alone;
    `batches` says whether `post_batch` is one request with many prompts, which the model sees as they are; `asks_first`
    whether a call may wait for something else before it stands in line. `lacks` names the methods it has not.
    """

    name: str
    make: Callable[[Any, Setup], Any]
    as_seen: Callable[[str], str] = _plain
    batches: bool = False
    asks_first: bool = False
    lacks: frozenset[str] = frozenset()

    async def open(self, endpoints: Any, setup: Setup) -> Any:
        """Return a new pool, entered if it can be."""
        pool = self.make(endpoints, setup)
        if hasattr(pool, "__aenter__"):
            await pool.__aenter__()
        return pool

    def answer(self, seed: int, prompt: str, tokens: int, *, in_batch: bool = False) -> str:
        """What a server of the fleet of that seed says to it."""
        seen = prompt if in_batch and self.batches else self.as_seen(prompt)
        return snapshot().choose(b"%d\0%b" % (seed, seen.encode()), tokens).text()


def vector(seed: int, text: str) -> str:
    """What a server of the fleet of that seed makes of it, as text."""
    return _vector(b"%d\0%b" % (seed, text.encode()), DIMENSIONS).hex()


def options(setup: Setup) -> dict[str, Any]:
    """The pool's arguments that a setup gives."""
    return {
        "concurrency": setup.concurrency,
        "connector_limit": setup.connector_limit,
        "concurrency_per_agent": setup.per_agent,
        "queue_timeout": setup.queue_timeout,
        "max_waiting": setup.max_waiting,
        "timeout": setup.timeout,
        "connect_timeout": setup.connect_timeout,
        "keepalive_timeout": setup.keepalive_timeout,
        "dns_ttl": setup.dns_ttl,
    }


def care(setup: Setup) -> dict[str, Any]:
    """The arguments that say what the pool does about agents that fail."""
    retry = Retry(tries=setup.tries, unsafe=setup.unsafe, pause=0.05) if setup.tries > 1 else None
    health = None
    if setup.failures is not None:
        probe: Any = "health" if setup.asks_health else "request"
        health = Health(failures=setup.failures, window=2.0, open_seconds=0.3, longest_open_seconds=2.0, probe=probe)
    hedge = None if setup.hedge_after is None else Hedge(after=setup.hedge_after, share=1.0)
    routing = None if setup.routing is None else _POLICIES[setup.routing]()
    return {"retry": retry, "health": health, "hedge": hedge, "routing": routing, "seed": 1}


_POLICIES: dict[str, Callable[[], Policy]] = {
    "turn": RoundRobin,
    "least": LeastInFlight,
    "two": PowerOfTwo,
    "sticky": Sticky,
}

AGENT_POOL = Kind("AgentPool", lambda endpoints, setup: AgentPool(endpoints, **options(setup), **care(setup)))
VLLM_POOL = Kind(
    "VLLMPool",
    lambda endpoints, setup: VLLMPool(endpoints, timeout_per_sequence=setup.timeout, **options(setup), **care(setup)),
    as_seen=_chat,
    batches=True,
    asks_first=True,
)
