"""Line charts as SVG, drawn without a library: they stand in a page that needs nothing but itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from loadtests.timeline import Window

__all__ = ["Series", "chart"]

_WIDTH, _HEIGHT = 760, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 34
_TICKS = 4
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, the class that gives its colour, and `(seconds, value)`; a value of None breaks the line."""

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class _Frame:
    """From seconds and values to places on the picture."""

    until: float
    top: float

    def x(self, seconds: float) -> float:
        share = min(max(seconds / self.until, 0.0), 1.0)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value / self.top * (_HEIGHT - _TOP - _BOTTOM), 1)


def chart(title: str, unit: str, series: Sequence[Series], windows: Iterable[Window] = ()) -> str:
    """Return an SVG with a line per series over the seconds of a run, from 0 up; `windows` are shaded and named."""
    values = [value for each in series for _, value in each.points if value is not None]
    seconds = [at for each in series for at, _ in each.points]
    step = _round_step(max(values, default=1.0) or 1.0)
    frame = _Frame(max(seconds, default=1.0) or 1.0, step * math.ceil((max(values, default=1.0) or 1.0) / step))
    parts = [
        *_windows(frame, windows),
        *_grid(frame, step),
        *_legend(title, unit, series),
        *(part for each in series for part in _line(frame, each, unit)),
    ]
    head = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, *parts, "</svg>"])


def _round_step(most: float) -> float:
    """A step of 1, 2, 2.5 or 5 times a power of ten, of which about four reach up to `most`."""
    rough = most / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(each * power for each in _STEPS if each * power >= rough * 0.999)


def _windows(frame: _Frame, windows: Iterable[Window]) -> Iterator[str]:
    for window in windows:
        left, right = frame.x(window.begin), frame.x(window.end)
        height = _HEIGHT - _TOP - _BOTTOM
        name = escape(f"{window.label}, from {window.begin:.1f} s to {window.end:.1f} s")
        yield f'<rect class="window" x="{left}" y="{_TOP}" width="{right - left:.1f}" height="{height}">'
        yield f"<title>{name}</title></rect>"


def _grid(frame: _Frame, step: float) -> Iterator[str]:
    for number in range(round(frame.top / step) + 1):
        y = frame.y(number * step)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{number * step:,.6g}</text>'
    across = _round_step(frame.until / 2)
    for number in range(math.floor(frame.until / across + 1e-9) + 1):
        x = frame.x(number * across)
        yield f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{number * across:g} s</text>'


def _legend(title: str, unit: str, series: Sequence[Series]) -> Iterator[str]:
    yield f'<text class="title" x="{_LEFT}" y="18">{escape(title)} <tspan class="unit">{escape(unit)}</tspan></text>'
    if len(series) < 2:
        return
    names = "&#160; ".join(f'<tspan class="mark {each.style}">●</tspan> {escape(each.name)}' for each in series)
    yield f'<text x="{_WIDTH - _RIGHT}" y="18" text-anchor="end">{names}</text>'


def _line(frame: _Frame, series: Series, unit: str) -> Iterator[str]:
    for stretch in _stretches(series.points):
        places = " ".join(f"{frame.x(at)},{frame.y(value)}" for at, value in stretch)
        yield f'<polyline class="{series.style}" points="{places}"/>'
        for at, value in stretch:
            said = escape(f"{series.name} at {at:.1f} s: {value:,.4g} {unit}")
            yield f'<circle class="{series.style}" cx="{frame.x(at)}" cy="{frame.y(value)}" r="2.5">'
            yield f"<title>{said}</title></circle>"


def _stretches(points: Sequence[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    stretch: list[tuple[float, float]] = []
    for at, value in points:
        if value is not None:
            stretch.append((at, value))
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch
