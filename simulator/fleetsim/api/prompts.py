"""The four forms a prompt may have: a text, texts, token ids, lists of token ids."""

from __future__ import annotations

from dataclasses import dataclass

from fleetsim.api.served import Served

__all__ = ["Given", "Prompt", "as_list", "look_at"]

Given = str | list[str | int | list[int]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: its text, its length in tokens, and whether the client counted them itself by sending ids."""

    text: str
    tokens: int
    exact: bool


def as_list(given: Given) -> list[str | list[int]]:
    """Return the prompts in `given`, one text or list of ids each. Raises ValueError when ids stand between texts."""
    if isinstance(given, str):
        return [given]
    ids = [item for item in given if isinstance(item, int)]
    if ids and len(ids) == len(given):
        return [ids]
    if ids:
        raise ValueError("expected a string, a list of strings, a list of tokens, or a list of lists of tokens")
    return [item for item in given if not isinstance(item, int)]


def look_at(served: Served, prompt: str | list[int]) -> Prompt:
    """Return `prompt` with its text and its length. Raises RefusalError for an id that is not in the vocabulary."""
    if isinstance(prompt, str):
        return Prompt(prompt, served.tokenizer.count(prompt), exact=False)
    return Prompt(served.decode(prompt), len(prompt), exact=True)
