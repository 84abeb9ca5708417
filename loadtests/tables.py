"""What locust's page shows of the fleet and of the pool: rows of plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loadtests.figures import DURATIONS, Figures
from loadtests.summary import CARE_TITLES, QUANTILES, TITLES

__all__ = ["FLEET_COLUMNS", "MOST_ROWS", "POOL_COLUMNS", "fleet_rows", "pool_rows"]

MOST_ROWS = 500

FLEET_COLUMNS = {
    "index": "Server",
    "url": "URL",
    "state": "State",
    "open_now": "Open connections",
    "in_flight": "In flight",
    "requests": "Requests",
    "tags": "Tags",
}
POOL_COLUMNS = {"figure": "Figure", "value": "Value"}

Row = dict[str, str | int]


def fleet_rows(servers: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return a row per server, as the control port tells of it; the first 500, for a page bears no more."""
    rows: list[Row] = []
    for server in servers:
        if len(rows) == MOST_ROWS:
            break
        tags = " ".join(f"{key}={value}" for key, value in server["tags"].items())
        rows.append({**{name: server[name] for name in FLEET_COLUMNS if name != "tags"}, "tags": tags})
    return rows


def pool_rows(figures: Figures) -> list[Row]:
    """Return the figures that locust has not, the reuse ratio first."""
    ratio, each = figures.reuse_ratio, figures.requests_per_connection
    connections = figures.connections
    said = {
        "reuse ratio": "none yet" if ratio is None else f"{ratio:.4f}",
        "requests per opened connection": "none yet" if each is None else f"{each:,.1f}",
        "connections opened, reused, open": " / ".join(
            f"{connections[word]:,}" for word in ("opened", "reused", "open")
        ),
        **{title: " / ".join(f"{figures.care[word]:,}" for word in words) for title, words in CARE_TITLES.items()},
        "responses, failed": f"{figures.responses:,} / {figures.failed:,}",
        **{f"{TITLES[name]}, {_WHICH} in ms": _quantiles(figures, name) for name in DURATIONS},
    }
    return [{"figure": name, "value": value} for name, value in said.items()]


_WHICH = " / ".join(f"p{share * 100:.0f}" for share in QUANTILES)


def _quantiles(figures: Figures, name: str) -> str:
    values = [figures.durations[name].quantile(share) for share in QUANTILES]
    return " / ".join("-" if value is None else f"{value * 1000:,.2f}" for value in values)
