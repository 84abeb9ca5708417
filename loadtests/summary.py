"""What a run has come to, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable

from loadtests.figures import DURATIONS, Figures
from loadtests.thresholds import Finding

__all__ = ["CARE_TITLES", "QUANTILES", "TITLES", "care", "failed", "summary", "verdict"]

QUANTILES = (0.5, 0.95, 0.99)

TITLES = {
    "elapsed": "whole run",
    "queue": "in the queue",
    "wire": "on the wire",
    "first_token": "to first token",
    "gap": "between tokens",
}


CARE_TITLES = {
    "requests retried, hedged, won by the hedge": ("retried", "hedged", "hedge_won"),
    "agents ejected, probed, returned, left alone now": ("ejected", "probing", "returned", "ejected_now"),
}


def summary(figures: Figures, findings: Iterable[Finding]) -> str:
    """Return the figures, the reuse ratio first, and the verdict."""
    return "\n".join(
        [_headline(figures), *_durations(figures), *care(figures), *failed(figures), "", *verdict(findings)]
    )


def _headline(figures: Figures) -> str:
    ratio, each = figures.reuse_ratio, figures.requests_per_connection
    if ratio is None or each is None:
        return "no connection was opened"
    opened, reused = figures.connections["opened"], figures.connections["reused"]
    return f"reuse ratio {ratio:.4f}: {opened:,} connections opened, {reused:,} reused, {each:,.1f} requests on each"


def _durations(figures: Figures) -> list[str]:
    head = "".join(f"{title:>11}" for title in ("count", *(f"p{share * 100:.0f} ms" for share in QUANTILES), "max ms"))
    lines = [f"{'':16}{head}"]
    for name in DURATIONS:
        histogram = figures.durations[name]
        if histogram.count:
            quantiles = (histogram.quantile(share) or 0.0 for share in QUANTILES)
            values = "".join(f"{value * 1000:11.2f}" for value in (*quantiles, histogram.largest))
            lines.append(f"{TITLES[name]:16}{histogram.count:11,}{values}")
    return lines


def care(figures: Figures) -> list[str]:
    """Return what the pool did for its requests, in lines; none where that was nothing."""
    said = {title: [figures.care[word] for word in words] for title, words in CARE_TITLES.items()}
    return [f"{title}: {' / '.join(f'{n:,}' for n in counts)}" for title, counts in said.items() if any(counts)]


def failed(figures: Figures) -> list[str]:
    """Return one line for each kind of failure."""
    return [f"failed: {kind} {number:,}" for kind, number in sorted(figures.failures.items())]


def verdict(findings: Iterable[Finding]) -> list[str]:
    """Return one line for each finding."""
    return [
        f"{'ok  ' if finding.met else 'FAIL'}  {finding.name}: {finding.found} (wanted: {finding.wanted})"
        for finding in findings
    ]
