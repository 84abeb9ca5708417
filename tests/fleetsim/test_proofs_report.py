from __future__ import annotations

import json
import platform
from importlib.metadata import version

from fleetsim.proofs.report import Run, as_json, failed, summary
from fleetsim.proofs.runner import Result

HOLDS = Result("one", "One.", "holds", "1 opened", "1 opened", 0.25, "")
FAILS = Result("two", "Two.", "fails", "-", "2 opened", 1.5, "2 opened, not 1")
ABSENT = Result("three", "Three.", "n/a", "-", "-", 0.0, "x does not have: views")


def test_the_json_report_has_the_documented_shape() -> None:
    report = json.loads(as_json(7, [Run("mine", [FAILS], "mine 1.0")]))
    assert report == {
        "seed": 7,
        "aiohttp": version("aiohttp"),
        "python": platform.python_version(),
        "runs": [
            {
                "client": "mine",
                "version": "mine 1.0",
                "claims": [
                    {
                        "name": "two",
                        "claim": "Two.",
                        "verdict": "fails",
                        "client_figure": "-",
                        "fleet_figure": "2 opened",
                        "seconds": 1.5,
                        "why": "2 opened, not 1",
                    }
                ],
            }
        ],
    }


def test_only_a_failing_claim_fails_a_run() -> None:
    assert not failed([Run("mine", [HOLDS, ABSENT])])
    assert failed([Run("mine", [HOLDS]), Run("other", [ABSENT, FAILS])])


def test_the_summary_counts_verdicts_and_names_the_seed() -> None:
    versions = f"(aiohttp {version('aiohttp')}, seed 7)"
    assert summary(Run("mine", [HOLDS]), 7) == f"mine: 1 of 1 claim holds in 0.2 s {versions}"
    assert (
        summary(Run("mine", [HOLDS, FAILS, ABSENT]), 7)
        == f"mine: 1 of 3 claims hold, 1 fail, 1 n/a in 1.8 s {versions}"
    )
