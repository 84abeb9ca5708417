"""What a client is here, and the body that those send which have no words of their own for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["CONCURRENT", "MODEL", "TOKENS", "Client", "Failed", "body", "prompt"]

CONCURRENT = 64
MODEL = "sim"
TOKENS = 16
TIMEOUT = 60.0


class Failed(Exception):
    """A request has failed, in whatever way its client says so."""


class Client(Protocol):
    """A client of many agents. One loop; `ask` runs concurrently."""

    made_once: bool  # whether it is too dear to be made anew for each server, and is moved there instead

    async def open(self, urls: Sequence[str]) -> None:
        """Be ready to ask the agents at `urls`, each `http://host:port`."""

    async def ask(self, agent: int, text: str) -> str:
        """One chat completion from an agent, read to its end; returns its text. Raises Failed."""

    async def close(self) -> None:
        """Close what `open` has opened."""


def prompt(number: int) -> str:
    """The prompt of a run's request `number`: about 300 characters, each another."""
    return f"{number}: " + "Tell me what a connection pool is for. " * 8


def body(text: str) -> dict[str, Any]:
    """The body of a chat completion's request."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS}
