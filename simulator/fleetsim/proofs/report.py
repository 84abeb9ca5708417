"""The report for programs: `{"seed", "aiohttp", "python", "runs": [{"client", "version", "claims": [...]}]}`."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from fleetsim.proofs.claim import counted
from fleetsim.proofs.runner import Result

__all__ = ["Run", "as_json", "failed", "summary"]


@dataclass(frozen=True, slots=True)
class Run:
    """All results of one client, in the claims' order; `version` says what it is and drives, with their versions."""

    client: str
    claims: Sequence[Result]
    version: str = ""


def as_json(seed: int, runs: Sequence[Run]) -> str:
    """The report as JSON text. Each claim has name, claim, verdict, client_figure, fleet_figure, seconds and why."""
    report: dict[str, Any] = {
        "seed": seed,
        "aiohttp": version("aiohttp"),
        "python": platform.python_version(),
        "runs": [
            {"client": run.client, "version": run.version, "claims": [asdict(result) for result in run.claims]}
            for run in runs
        ],
    }
    return json.dumps(report, indent=2) + "\n"


def failed(runs: Sequence[Run]) -> bool:
    """Whether any claim of any client fails."""
    return any(result.verdict == "fails" for run in runs for result in run.claims)


def summary(run: Run, seed: int) -> str:
    """One line: how many claims hold, fail, do not apply, in how many seconds, and with what it can be repeated."""
    count = {verdict: sum(r.verdict == verdict for r in run.claims) for verdict in ("holds", "fails", "n/a")}
    seconds = sum(result.seconds for result in run.claims)
    parts = [f"{count['holds']} of {counted(len(run.claims), 'claim')} {'holds' if len(run.claims) == 1 else 'hold'}"]
    parts += [f"{number} {word}" for word, number in (("fail", count["fails"]), ("n/a", count["n/a"])) if number]
    return f"{run.client}: {', '.join(parts)} in {seconds:.1f} s (aiohttp {version('aiohttp')}, seed {seed})"
