"""What is left of a run for people and programs: a page and a JSON file with the same content."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import aiohttp

import swarmpool
from loadtests.charts import Series, chart
from loadtests.figures import DURATIONS, Figures
from loadtests.options import Options
from loadtests.summary import QUANTILES, TITLES
from loadtests.thresholds import Finding
from loadtests.timeline import Point, Timeline

__all__ = ["Report"]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(frozen=True, slots=True)
class Report:
    """One run. `ledger` is the fleet's at its end, None for a fleet that could not be asked."""

    options: Options
    figures: Figures
    findings: tuple[Finding, ...]
    timeline: Timeline
    ledger: Mapping[str, Any] | None
    ended: str = field(default_factory=_now)

    @property
    def kept(self) -> bool:
        """Whether every finding is met."""
        return all(finding.met for finding in self.findings)

    def write(self, prefix: str) -> tuple[Path, Path]:
        """Write PREFIX.json and PREFIX.html, and return their paths. Raises OSError."""
        data, page = Path(f"{prefix}.json"), Path(f"{prefix}.html")
        data.parent.mkdir(parents=True, exist_ok=True)
        data.write_text(json.dumps(self.written(), indent=1) + "\n", "utf-8")
        page.write_text(self.page(), "utf-8")
        return data, page

    def written(self) -> dict[str, Any]:
        """Return all of it as JSON can carry it; durations in seconds."""
        figures = self.figures
        return {
            "reuse_ratio": figures.reuse_ratio,
            "requests_per_connection": figures.requests_per_connection,
            "kept": self.kept,
            "findings": [asdict(finding) for finding in self.findings],
            "responses": figures.responses,
            "failure_share": figures.failure_share,
            "failures": {str(kind): number for kind, number in figures.failures.items()},
            "runs": dict(figures.runs),
            "durations": {name: self._duration(name) for name in DURATIONS},
            "connections": figures.connections,
            "care": figures.care,
            "fleet": None if self.ledger is None else dict(self.ledger),
            "options": self.options.written(),
            "limits": asdict(self.options.limits),
            "timeline": self.timeline.written(),
            "ended": self.ended,
            "versions": _versions(),
        }

    def _duration(self, name: str) -> dict[str, float | None]:
        histogram = self.figures.durations[name]
        quantiles = {f"p{share * 100:.0f}": histogram.quantile(share) for share in QUANTILES}
        return {"count": histogram.count, "mean": histogram.mean, **quantiles, "max": histogram.largest}

    def page(self) -> str:
        """Return the page, which needs no other file and no network."""
        return "\n".join(
            [
                f"<!doctype html><html lang=en><meta charset=utf-8><title>Load test: {self.options.shape_name}</title>",
                f"<style>{_STYLE}</style><main>",
                *self._headline(),
                "<h2>Verdict</h2>",
                *_table(("", "found", "wanted"), ((*_said(finding),) for finding in self.findings)),
                "<h2>Second by second</h2>",
                *self._charts(),
                "<h2>Durations, in milliseconds</h2>",
                *_table(("", "count", "mean", *(f"p{share * 100:.0f}" for share in QUANTILES), "max"), self._rows()),
                *self._care(),
                *self._failures(),
                "<h2>Run</h2>",
                *_table(("", ""), ((name, str(value)) for name, value in self._facts())),
                "</main></html>",
            ]
        )

    def _headline(self) -> Iterator[str]:
        figures, ratio = self.figures, self.figures.reuse_ratio
        connections = figures.connections
        share = "none" if ratio is None else f"{ratio * 100:.2f} %"
        missed = sum(not finding.met for finding in self.findings)
        verdict = f"{missed} of {len(self.findings)} limits not kept" if missed else "all limits kept"
        mark = "met" if self.kept else "missed"
        yield f"<header><div><h1>{share}</h1><p>of all exchanges reused a connection</p></div><div>"
        each = figures.requests_per_connection
        load = "" if each is None else f": {each:,.1f} requests on each"
        yield f"<p><b>{connections['opened']:,}</b> connections opened, <b>{connections['reused']:,}</b> reused{load}"
        yield f"<p><b>{figures.responses:,}</b> responses, {figures.failed:,} of them failed"
        yield f"<p class={mark}>{verdict}<p class=quiet>{escape(self.options.shape_name)}, {self.ended}</div></header>"

    def _charts(self) -> Iterator[str]:
        points, windows = self.timeline.points, self.timeline.windows
        if windows:
            yield "<p class=quiet>Shaded: the time of a fault.</p>"
        for title, unit, lines in (*_CHARTS, *(_CARE_CHARTS if any(self.figures.care.values()) else ())):
            series = [Series(name, style, _line(points, each)) for name, style, each in lines]
            yield f"<figure>{chart(title, unit, series, windows)}</figure>"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for name in DURATIONS:
            said = self._duration(name)
            if said["count"]:
                values = (f"{(value or 0.0) * 1000:,.2f}" for key, value in said.items() if key != "count")
                yield (TITLES[name], f"{said['count']:,}", *values)

    def _care(self) -> Iterator[str]:
        if any(self.figures.care.values()):
            yield "<h2>Retries and breakers</h2>"
            yield from _table(("", "in all"), ((_CARE[name], f"{n:,}") for name, n in self.figures.care.items()))

    def _failures(self) -> Iterator[str]:
        if self.figures.failures:
            yield "<h2>Failures</h2>"
            yield from _table(
                ("kind", "responses"), ((str(k), f"{n:,}") for k, n in self.figures.failures.most_common())
            )

    def _facts(self) -> Iterator[tuple[str, object]]:
        yield from self.options.written().items()
        yield from ((f"{name}, runs", f"{number:,}") for name, number in self.figures.runs.items())
        yield from ((f"fleet: {name}", value) for name, value in (self.ledger or {}).items() if type(value) is int)
        yield from _versions().items()


_CHARTS: Sequence[tuple[str, str, Sequence[tuple[str, str, str]]]] = (
    ("Reuse ratio", "of the exchanges", [("reuse ratio", "one", "reuse_ratio")]),
    ("Responses", "per second", [("all", "one", "responses"), ("failed", "bad", "failed")]),
    ("Whole run", "milliseconds", [("p95", "two", "p95"), ("p50", "one", "p50")]),
    ("Connections", "open, and opened per second", [("open", "one", "open"), ("opened", "two", "opened")]),
    ("Users", "", [("users", "one", "users")]),
)

_CARE_CHARTS: Sequence[tuple[str, str, Sequence[tuple[str, str, str]]]] = (
    ("Retries", "per second", [("retried", "two", "retried")]),
    ("Agents left alone", "now, summed over the pools", [("left alone", "bad", "ejected")]),
)

_CARE = {
    "retried": "tries that failed and were repeated",
    "ejected": "agents ejected: their breakers opened",
    "probing": "probes of ejected agents",
    "returned": "agents returned: their probes went well",
    "ejected_now": "agents left alone at the end",
    "hedged": "requests sent to a second agent as well",
    "hedge_won": "second tries that answered first",
}


def _line(points: Sequence[Point], name: str) -> list[tuple[float, float | None]]:
    return [(point.at, getattr(point, name)) for point in points]


def _said(finding: Finding) -> tuple[str, str, str]:
    return f"{'✓' if finding.met else '✗'} {finding.name}", finding.found, finding.wanted


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "<table>"
    if any(head):
        yield f"<tr>{''.join(f'<th>{escape(cell)}' for cell in head)}"
    for row in rows:
        mark = " class=missed" if row[0].startswith("✗") else ""
        yield f"<tr{mark}>{''.join(f'<td>{escape(cell)}' for cell in row)}"
    yield "</table>"


def _versions() -> dict[str, str]:
    return {
        "swarmpool": swarmpool.__version__,
        "aiohttp": aiohttp.__version__,
        "Python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


_STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--quiet:#667085;--rule:#e3e6ec;--paper:#fff;--one:#2563a8;--two:#b7791f;
--bad:#c0392b;--good:#1f7a4d;--window:#c0392b22}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--quiet:#98a2b3;--rule:#343b49;--paper:#171b22;--one:#6ea8e5;
--two:#e0b050;--bad:#f07a6c;--good:#5fc794;--window:#f07a6c2b}}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:820px;margin:0 auto;padding:32px 24px 64px}
header{display:flex;gap:40px;align-items:center;flex-wrap:wrap;border-bottom:1px solid var(--rule);padding-bottom:20px}
h1{font-size:56px;line-height:1.1;margin:0;font-variant-numeric:tabular-nums}header p{margin:2px 0}
h2{font-size:17px;margin:32px 0 8px}.quiet{color:var(--quiet)}
.met{color:var(--good);font-weight:600}.missed,.missed td{color:var(--bad);font-weight:600}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 0 5px 16px;border-bottom:1px solid var(--rule);font-weight:400}
th{color:var(--quiet)}th:first-child,td:first-child{text-align:left;padding-left:0}
figure{margin:16px 0}svg{width:100%;height:auto;display:block;font:12px system-ui,sans-serif;fill:var(--quiet)}
svg .title{font-size:14px;font-weight:600;fill:var(--ink)}svg .unit{font-weight:400;fill:var(--quiet)}
.grid{stroke:var(--rule)}.window{fill:var(--window)}polyline,line.one,line.two,line.bad{fill:none;stroke-width:2}
.one{stroke:var(--one)}.two{stroke:var(--two)}.bad{stroke:var(--bad)}
svg .mark{stroke:none}.mark.one{fill:var(--one)}.mark.two{fill:var(--two)}.mark.bad{fill:var(--bad)}
circle.one{fill:var(--one)}circle.two{fill:var(--two)}circle.bad{fill:var(--bad)}
"""
