"""One step of a pattern: prompts go over a view, results come back in their order, and progress is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from swarmpool.options import count_or_none, text
from swarmpool.progress import Progress, ProgressCallback, checked_progress
from swarmpool.responses import Response

if TYPE_CHECKING:
    from swarmpool.pool import AgentPool

__all__ = ["Manner", "checked_items", "checked_template", "fill", "placed"]

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Manner:
    """How the steps of one call are to be sent."""

    progress: ProgressCallback | None = None
    max_tokens: int | None = None
    max_tokens_aggregation: int | None = None
    sampling: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        checked_progress(self.progress)
        count_or_none("max_tokens", self.max_tokens, at_least=0)
        count_or_none("max_tokens_aggregation", self.max_tokens_aggregation, at_least=0)

    async def ask(self, view: AgentPool, prompts: Sequence[str], step: str) -> list[Response]:
        """Send prompt i to agent `i % size` of `view`, or as the pool's `routing` has it."""
        return await self._send(view, prompts, step, self.max_tokens)

    async def ask_each(self, view: AgentPool, prompt: str, step: str) -> list[Response]:
        """Send one prompt to every agent of `view`, whatever the pool's `routing`."""
        return await self._send(view, [text("prompt", prompt)] * view.size, step, self.max_tokens, pinned=True)

    async def aggregate(self, view: AgentPool, prompts: Sequence[str], step: str) -> list[Response]:
        """The same as `ask`, for prompts that have answers in them."""
        return await self._send(view.aggregating(), prompts, step, self.max_tokens_aggregation)

    async def _send(
        self, view: AgentPool, prompts: Sequence[str], step: str, tokens: int | None, *, pinned: bool = False
    ) -> list[Response]:
        sampling = {**(self.sampling or {}), **({"pinned": True} if pinned else {})}
        if self.progress is None:
            return await view.send_all(prompts, tokens, **sampling)
        results: dict[int, Response] = {}
        failed = 0
        async with aclosing(view.stream_all(prompts, tokens, **sampling)) as responses:
            async for response in responses:
                assert response.prompt_index is not None
                results[response.prompt_index] = response
                failed += not response.success
                self.progress(Progress(step, len(results), len(prompts), failed))
        return [results[index] for index in range(len(prompts))]


def fill(template: str, **values: object) -> str:
    """`template` with `{name}` replaced by each value, all in one pass; other braces stay as they are."""
    return _PLACEHOLDER.sub(lambda found: str(values[found[1]]) if found[1] in values else found[0], template)


def checked_template(name: str, template: object, placeholder: str) -> str:
    """`template` if it is text with that placeholder in it: what it stands for would be sent nowhere."""
    if f"{{{placeholder}}}" not in text(name, template):
        raise ValueError(f"{name} must have {{{placeholder}}} in it, not be {template!r}")
    return str(template)


def checked_items(name: str, items: object) -> list[Any]:
    """The items, if they are a collection other than one string, which is a collection of characters."""
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise TypeError(f"{name} must be a collection, not {type(items).__name__}")
    return list(items)


def placed(response: Response, place: str) -> Response:
    """A failed response whose error says in which part of a pattern it failed."""
    return replace(response, error=f"{place}: {response.error}")
