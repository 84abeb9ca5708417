"""The verdict on a run: what was measured against what was allowed, and the client's count against the fleet's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loadtests.figures import Figures

__all__ = ["Finding", "Limits", "compared", "judge"]

_COUNTED = ("opened", "closed", "reused")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run must keep. None = off.

    `p95`: seconds that 95 % of all runs of scenarios take at most. `failures`: share of failed responses, at most.
    `reuse`: share of exchanges on a connection that had served before, at least. `requests_per_connection`: at least.
    """

    p95: float | None = None
    failures: float | None = 0.0
    reuse: float | None = None
    requests_per_connection: float | None = None

    def __post_init__(self) -> None:
        for name in ("p95", "requests_per_connection"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name}: expected a number of at least 0, got {value!r}")
        for name in ("failures", "reuse"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name}: expected a share from 0 to 1, got {value!r}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of the verdict."""

    name: str
    found: str
    wanted: str
    met: bool


Ledger = Mapping[str, int]


def judge(
    figures: Figures, limits: Limits, before: Ledger | None = None, after: Ledger | None = None
) -> tuple[Finding, ...]:
    """Return the findings on a run that is over, its pools closed.

    `before` and `after` are the fleet's ledger at its beginning and its end, None for a fleet that cannot be asked.
    """
    findings = [_answered(figures), *_measured(figures, limits), _no_sockets(figures)]
    if before is not None and after is not None:
        findings += compared(figures, before, after)
    return tuple(findings)


def _answered(figures: Figures) -> Finding:
    return Finding("responses", f"{figures.responses:,}", "more than none", figures.responses > 0)


def _measured(figures: Figures, limits: Limits) -> list[Finding]:
    elapsed = figures.durations["elapsed"].quantile(0.95)
    reuse, each = figures.reuse_ratio, figures.requests_per_connection
    findings = []
    if limits.reuse is not None:
        findings.append(_at_least("reuse ratio", reuse, limits.reuse, "{:.4f}"))
    if limits.requests_per_connection is not None:
        findings.append(_at_least("requests per opened connection", each, limits.requests_per_connection, "{:.1f}"))
    if limits.failures is not None:
        findings.append(_at_most("failure share", figures.failure_share, limits.failures, "{:.4f}"))
    if limits.p95 is not None:
        findings.append(_at_most("p95", elapsed, limits.p95, "{:.3f} s"))
    return findings


def _at_least(name: str, value: float | None, limit: float, form: str) -> Finding:
    return Finding(name, _said(value, form), f"at least {form.format(limit)}", value is not None and value >= limit)


def _at_most(name: str, value: float | None, limit: float, form: str) -> Finding:
    return Finding(name, _said(value, form), f"at most {form.format(limit)}", value is not None and value <= limit)


def _said(value: float | None, form: str) -> str:
    return "nothing to measure" if value is None else form.format(value)


def _no_sockets(figures: Figures) -> Finding:
    return Finding("sockets at the end", str(figures.connections["open"]), "0", figures.connections["open"] == 0)


def compared(figures: Figures, before: Ledger, after: Ledger) -> list[Finding]:
    """The client's count against the fleet's: equal, but for what only one end can know (`Figures.unsure`).

    In a run without such, the counts are equal or something is wrong.
    """
    findings = [
        _agreed(word, figures.connections[word], after[word] - before[word], figures.unsure) for word in _COUNTED
    ]
    left = after["open_now"] - before["open_now"]
    findings.append(Finding("fleet's connections at the end", str(left), "0", left == 0))
    return findings + (_websockets(figures, before, after) if figures.websockets else [])


def _websockets(figures: Figures, before: Ledger, after: Ledger) -> list[Finding]:
    """The same of websockets and their messages, where there were any."""
    counted = figures.websockets
    rows = (
        ("websockets", counted["opened"], "websockets", figures.unsure),
        ("messages sent", counted["answered"], "messages_in", counted["cut"]),
        ("messages answered", counted["answered"], "messages_out", counted["cut"]),
    )
    return [_agreed(name, own, after[word] - before[word], unsure) for name, own, word, unsure in rows]


def _agreed(name: str, own: int, seen: int, unsure: int) -> Finding:
    wanted = f"equal, but for {unsure} unsure" if unsure else "equal"
    return Finding(f"{name}: client and fleet", f"{own:,} and {seen:,}", wanted, abs(own - seen) <= unsure)
