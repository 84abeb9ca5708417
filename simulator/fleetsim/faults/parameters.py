"""The parameters of faults: typed dataclass fields that know their unit and read what people write."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from fleetsim.units import format_duration, parse_duration

__all__ = ["choice", "count", "duration", "number"]


def duration(default: float | None, meaning: str, *, or_none: bool = False) -> Any:
    """A field in seconds, written as `80ms` or `1.5s`. With None as default it may be left out; `or_none` takes
    `none` for None."""
    read = _or_none(parse_duration) if or_none or default is None else parse_duration
    return _field(default, read, "duration or none" if or_none else "duration", meaning, _shown)


def count(default: int | None, unit: str, meaning: str, *, least: int = 0, most: int | None = None) -> Any:
    """A field with a whole number of `unit`, from `least` to `most`. With None as default it may be left out."""

    def read(value: object) -> int:
        number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        if isinstance(number, int) and not isinstance(number, bool) and least <= number <= (most or number):
            return number
        raise ValueError(f"expected a whole number of {unit}{_range(least, most)}, got {value!r}")

    return _field(default, read if default is not None else _or_none(read), unit, meaning, str)


def number(default: float, unit: str, meaning: str) -> Any:
    """A field with a finite number of `unit` above 0."""

    def read(value: object) -> float:
        try:
            read = float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else 0.0
        except ValueError:
            read = 0.0
        if math.isfinite(read) and read > 0:
            return read
        raise ValueError(f"expected a number of {unit} above 0, got {value!r}")

    return _field(default, read, unit, meaning, lambda value: f"{value:g}")


def _range(least: int, most: int | None) -> str:
    if most is not None:
        return f" from {least} to {most}"
    return f" of at least {least}" if least else ""


def choice(default: str, meaning: str, *values: str) -> Any:
    """A field with one of these words."""
    words = (default, *values)

    def read(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError(f"expected {' or '.join(words)}, got {value!r}")

    return _field(default, read, " or ".join(words), meaning, str)


def _shown(seconds: float | None) -> str:
    return "none" if seconds is None else format_duration(seconds)


def _field(default: object, read: Callable[[Any], object], unit: str, meaning: str, show: Callable[[Any], str]) -> Any:
    return dataclasses.field(default=default, metadata={"read": read, "unit": unit, "meaning": meaning, "show": show})


def _or_none(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value in (None, "none") else read(value)
