from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.bench.soak import Rest, Soak, judge_rests, run_soak

FIRST = Rest(100, descriptors=11, tasks=1, memory=50_000_000, fleet_descriptors=73, fleet_memory=90_000_000)


@pytest.mark.slow
def test_a_soak_ends_as_it_was_after_its_first_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    told: list[Rest] = []
    run = run_soak(Soak(minutes=2, agents=6, in_flight=4, stretch=0.2, ttft=0.01), told.append)
    assert [finding for finding in run.findings if not finding.met] == []
    assert told == list(run.rests)
    assert run.rests[0].answered < run.rests[1].answered == run.figures.responses
    # Each stretch has opened its connections anew, for each rest has ended them all.
    assert run.figures.connections["opened"] == 12
    assert run.as_dict()["rests"][1]["tasks"] == run.rests[0].tasks


@pytest.mark.parametrize("name", ["descriptors", "tasks", "fleet_descriptors"])
def test_one_more_than_after_the_first_minute_is_one_too_many(name: str) -> None:
    last = replace(FIRST, **{name: getattr(FIRST, name) + 1})
    (missed,) = (finding for finding in judge_rests(FIRST, last, 1e6, 1e6) if not finding.met)
    assert missed.name == name.replace("fleet_", "fleet's ")


@pytest.mark.parametrize(("name", "said"), [("memory", "memory"), ("fleet_memory", "fleet's memory")])
def test_memory_may_grow_by_the_bound_and_no_more(name: str, said: str) -> None:
    def missed(growth: int) -> list[str]:
        last = replace(FIRST, **{name: getattr(FIRST, name) + growth})
        return [finding.name for finding in judge_rests(FIRST, last, 1e6, 1e6) if not finding.met]

    assert (missed(1_000_000), missed(1_000_001)) == ([], [said])


@pytest.mark.parametrize(("name", "least"), [("minutes", 2), ("agents", 1), ("in_flight", 1), ("processes", 1)])
def test_a_soak_that_could_show_nothing_is_refused(name: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"^--{name.replace('_', '-')}: expected at least {least}, got {least - 1}$"):
        Soak(**{name: least - 1})
