"""Durations as people write them: `80ms`, `1.5s`, `2m`.

Inside the package a duration is a float in seconds; only what people read or write carries a unit.
"""

from __future__ import annotations

import math
import re

__all__ = ["DURATION_EXPECTED", "format_duration", "parse_duration"]

DURATION_EXPECTED = "a duration such as 80ms, 1.5s, 2m or 0"

_PER_UNIT = {"us": 1_000_000.0, "µs": 1_000_000.0, "ms": 1_000.0, "s": 1.0}
_SECONDS_IN = {"m": 60.0, "h": 3_600.0}
_WRITTEN = re.compile(r"\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-zµ]*)\s*", re.ASCII)


def parse_duration(value: object) -> float:
    """Return `value` in seconds.

    Takes text with a unit (us, ms, s, m, h) or a plain number of seconds. Text without a unit is refused, because
    `80` on a command line is as likely meant as milliseconds; `"0"` needs none.
    Raises ValueError naming the value and what was expected.
    """
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        return float(value)
    raise _refusal(value)


def _parse_text(text: str) -> float:
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise _refusal(text)
    number, unit = float(found["number"]), found["unit"]
    if unit in _PER_UNIT:
        # Dividing keeps "80ms" the same float as 0.08; multiplying by 0.001 would not always.
        return number / _PER_UNIT[unit]
    if unit in _SECONDS_IN:
        return number * _SECONDS_IN[unit]
    if not unit and number == 0:
        return 0.0
    raise _refusal(text)


def _refusal(value: object) -> ValueError:
    return ValueError(f"expected {DURATION_EXPECTED}, got {value!r}")


def format_duration(seconds: float) -> str:
    """Return `seconds` for people, to six digits and in the unit that reads best: `80ms`, `1.5s`, `2m`."""
    if seconds == 0:
        return "0s"
    if seconds < 0.001:
        return f"{seconds * 1_000_000:.6g}us"
    if seconds < 1:
        return f"{seconds * 1_000:.6g}ms"
    for unit, length in (("h", 3_600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds / length:.15g}{unit}"
    return f"{seconds:.6g}s"
