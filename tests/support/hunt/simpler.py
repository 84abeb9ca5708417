"""Simpler versions of one step, for shrinking: one field after the other as it is by default."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, fields, replace

from hunt.steps import Step

__all__ = ["simpler"]


def simpler(step: Step) -> Iterator[Step]:
    """Yield the step with one field of its that is not as it is by default put back to that."""
    for field in fields(step):
        if field.default is not MISSING and getattr(step, field.name) != field.default:
            yield replace(step, **{field.name: field.default})
