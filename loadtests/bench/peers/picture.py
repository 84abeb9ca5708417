"""The page's drawing: bars of CPU per request, of the clients and of the servers, by number of agents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from loadtests.bench.peers.losses import OURS
from loadtests.bench.peers.results import Results

__all__ = ["picture"]

_WIDTH, _TOP, _ROW, _GAP, _HEAD = 760, 16, 18, 14, 46
_LEFT, _RIGHT = 190, 90
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}.quiet{fill:#656d76}"
    ".ours{fill:#0969da}.theirs{fill:#afb8c1}.mark{stroke:#1f2328;stroke-width:1}"
)


@dataclass(frozen=True, slots=True)
class _Bar:
    """One bar: its name, its length and the quartiles that are drawn on it."""

    name: str
    low: float
    middle: float
    high: float


def picture(results: Results) -> str:
    """Return an SVG that stands by itself: clients asking the first server, and servers asked by bare aiohttp."""
    server = next(name for name in (OURS["server"], *results.servers()) if name in results.servers())
    client = next(name for name in ("aiohttp", *results.clients()) if name in results.clients())
    parts, y = [], _TOP
    for title, side, at in (
        (f"Clients: CPU per request, µs, at {server}", "client", server),
        (f"Servers: CPU per request, µs, asked by {client}", "server", client),
    ):
        drawn, y = _panel(results, title, side, at, y)
        parts += drawn
    size = f'viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            "<title>CPU per request of clients and servers</title>",
            f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(results: Results, title: str, side: str, at: str, y: int) -> tuple[list[str], int]:
    groups = {agents: [*_bars(results, side, at, agents)] for agents in results.sizes()}
    most = max((bar.high for bars in groups.values() for bar in bars), default=1.0)
    parts = [f'<text class="title" x="16" y="{y + 16}">{escape(title)}</text>']
    parts += [f'<text class="quiet" x="{_WIDTH - 16}" y="{y + 16}" text-anchor="end">less is better</text>']
    y += _HEAD - _ROW
    for agents, bars in groups.items():
        y += _GAP
        parts += [f'<text class="quiet" x="16" y="{y + 13}">{agents:,} agent{"s" * (agents > 1)}</text>']
        for bar in bars:
            parts += _drawn(bar, y, most, ours=bar.name == OURS[side])
            y += _ROW
    return parts, y + _GAP


def _bars(results: Results, side: str, at: str, agents: int) -> Iterator[_Bar]:
    for cell in results.cells:
        name, other = (cell.client, cell.server) if side == "client" else (cell.server, cell.client)
        if (other, cell.agents) == (at, agents):
            spread = cell.figures[f"{side}_cpu"]
            yield _Bar(name, *spread)


def _drawn(bar: _Bar, y: int, most: float, *, ours: bool) -> Sequence[str]:
    low, middle, high = (_LEFT + each / most * (_WIDTH - _LEFT - _RIGHT) for each in (bar.low, bar.middle, bar.high))
    style = "ours" if ours else "theirs"
    told = f"{bar.name}: {bar.middle:,.0f} µs, quartiles {bar.low:,.0f} to {bar.high:,.0f}"
    place = f'x="{_LEFT}" y="{y + 2}" width="{middle - _LEFT:.1f}" height="{_ROW - 5}"'
    return [
        f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="{style}" {place}><title>{escape(told)}</title></rect>',
        f'<line class="mark" x1="{low:.1f}" x2="{high:.1f}" y1="{y + 8}" y2="{y + 8}"/>',
        f'<text x="{high + 8:.1f}" y="{y + 13}">{bar.middle:,.0f}</text>',
    ]
