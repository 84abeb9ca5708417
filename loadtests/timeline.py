"""A run second by second: what the charts of a report show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from loadtests.figures import Figures

__all__ = ["Point", "Timeline", "Window"]


@dataclass(frozen=True, slots=True)
class Point:
    """What happened since the point before, per second; durations in milliseconds.

    `open` connections and `ejected` agents are those there are now.
    """

    at: float
    users: int
    responses: float
    failed: float
    p50: float | None
    p95: float | None
    opened: float
    reuse_ratio: float | None
    open: int
    retried: float
    ejected: int


@dataclass(frozen=True, slots=True)
class Window:
    """The time of a fault, in seconds since the beginning."""

    begin: float
    end: float
    label: str


class Timeline:
    """Points in the order they are added, and the windows of faults."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.windows: list[Window] = []
        self._at = 0.0
        self._before = Figures()

    def add(self, at: float, users: int, figures: Figures) -> None:
        """Add the point at `at` seconds; `figures` are a copy, cumulative from the beginning."""
        lasted = at - self._at
        if lasted <= 0:
            return
        before, now = self._before, figures.connections
        elapsed = figures.durations["elapsed"].since(before.durations["elapsed"])
        opened, reused = (now[word] - before.connections[word] for word in ("opened", "reused"))
        self.points.append(
            Point(
                at=round(at, 3),
                users=users,
                responses=(figures.responses - before.responses) / lasted,
                failed=(figures.failed - before.failed) / lasted,
                p50=_milliseconds(elapsed.quantile(0.5)),
                p95=_milliseconds(elapsed.quantile(0.95)),
                opened=opened / lasted,
                reuse_ratio=reused / (opened + reused) if opened + reused else None,
                open=now["open"],
                retried=(figures.care["retried"] - before.care["retried"]) / lasted,
                ejected=figures.care["ejected_now"],
            )
        )
        self._at, self._before = at, figures

    def written(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {"points": [asdict(each) for each in self.points], "windows": [asdict(each) for each in self.windows]}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
