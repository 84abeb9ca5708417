"""An exchange that is over, for what makes results of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

from swarmpool.agents import Agent
from swarmpool.endpoints import AgentEndpoint
from swarmpool.exchange import Exchange

__all__ = ["an_agent", "an_exchange"]


def an_agent(tree_index: int = 7) -> Agent:
    """An agent of its own endpoint."""
    return Agent(AgentEndpoint("node7", 8000), tree_index)


@dataclass
class _Over:
    agent: Agent = field(default_factory=an_agent)
    attempts: int = 1
    queue_seconds: float = 0.5
    wire_seconds: float = 1.5
    connection: Literal["new", "reused"] | None = "reused"


def an_exchange() -> Exchange:
    """One that took half a second in the queue and one and a half on the wire."""
    return cast(Exchange, _Over())
