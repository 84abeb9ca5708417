"""The sentences by which the catalogue says what a client sees of a fault, held word by word against what it saw."""

from __future__ import annotations

import dataclasses
import re

from fleetsim import Fault

__all__ = ["is_said", "with_durations"]

# How a sentence calls what is no exception; an exception it calls by its name.
_SEEN = {
    "whole": r"[Ww]hole|first response|same events|Nothing|well",
    "cut off": r"cut off",
    "status": r"of that status|of these statuses|response 500",
    "for ever": r"for ever",
}


def is_said(seen: str, sentence: str) -> bool:
    """Whether `sentence` names what was seen: an exception, or one of the above."""
    return re.search(_SEEN.get(seen, rf"\b{seen}\b"), sentence) is not None


def with_durations(kind: type[Fault], seconds: float) -> Fault:
    """The fault, with so much time wherever it takes some."""
    fields = [field for field in dataclasses.fields(kind) if field.metadata["unit"] == "duration"]
    return kind(**{field.name: seconds for field in fields if field.default is not None})
