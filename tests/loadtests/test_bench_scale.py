from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fleetsim import Fleet
from loadtests.bench.scale import Load, alternately, pool_for, run_scale, users_ask
from loadtests.figures import Figures
from swarmpool import parse_hostfile


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


async def test_users_ask_all_agents_alike_and_no_more_than_was_asked_for(tmp_path: Path) -> None:
    figures = Figures()
    async with Fleet(5) as fleet:
        async with pool_for(parse_hostfile(fleet.hostfile(tmp_path / "hosts.tsv")), 3) as pool:
            await users_ask(pool, iter(range(20)), 3, float("inf"), figures)
        assert [server.ledger.requests for server in fleet] == [4] * 5
    assert (figures.responses, figures.failed) == (20, 0)


async def test_users_stop_when_their_time_is_over(tmp_path: Path) -> None:
    figures = Figures()
    async with Fleet(1) as fleet, pool_for(parse_hostfile(fleet.hostfile(tmp_path / "hosts.tsv")), 3) as pool:
        await users_ask(pool, itertools.count(), 3, 0.0, figures)
    assert figures.responses == 3


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_counts_what_the_fleet_counts(processes: int) -> None:
    run = run_scale(Load(agents=6, in_flight=4, requests=300, processes=processes, every=0.05))
    assert [finding for finding in run.findings if not finding.met] == []
    assert {"opened: client and fleet", "reused: client and fleet"} <= {finding.name for finding in run.findings}
    assert run.points[-1].answered == run.figures.responses == 300
    assert [point.at for point in run.points] == sorted(point.at for point in run.points)
    assert run.points[-1].opened + run.points[-1].reused == 300
    # The parent of two shards is a process too.
    assert len(run.shares.servers) == (1 if processes == 1 else 3)
    assert run.as_dict()["requests"] == 300


def test_loads_are_run_there_and_back() -> None:
    one, two = Load(processes=1), Load(processes=2)
    assert list(alternately([one, two], 3)) == [one, two, two, one, one, two]


@pytest.mark.parametrize("name", ["agents", "in_flight", "requests", "processes", "seconds", "every"])
def test_a_load_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^--{name.replace('_', '-')}: expected more than 0, got 0$"):
        Load(**{name: 0})
