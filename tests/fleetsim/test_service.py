from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from fleetsim import Fleet, ShardedFleet
from fleetsim.control.running import running_fleets
from fleetsim.service import Service, counted, figures_of, findable, is_whole, service_options


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def read(*arguments: str) -> Service:
    found: list[Service] = []

    @click.command()
    @service_options
    def command(**given: Any) -> None:
        found.append(Service.read(click.get_current_context(), **given))

    command.main([*arguments], standalone_mode=False)
    return found[0]


def test_what_is_said_is_read_and_no_token_is_shown() -> None:
    service = read("--tls", "--ttft", "1s", "--processes", "2:restart", "--control", "0", "--control-token", "s3cret")
    assert (service.profile.tls, service.profile.ttft, service.processes) == (True, 1.0, (2, True))
    assert (service.control, service.token) == (0, "s3cret")
    assert "s3cret" not in repr(service)


def test_a_token_in_the_environment_is_for_those_who_are_driven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETSIM_CONTROL_TOKEN", "s3cret")
    assert (read().token, read("--control", "0").token) == (None, "s3cret")
    with pytest.raises(click.UsageError, match="--control-token: expected --control with it"):
        read("--control-token", "s3cret")


async def test_the_fleet_is_in_this_process_or_spread_as_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    here, spread = read("--control", "0").maker("run")(2), read("--processes", "2").maker("run")(2)
    assert isinstance(here, Fleet)
    assert isinstance(spread, ShardedFleet)
    with pytest.raises(ValueError, match="processes: expected 1 to 2 for 2 servers, got 3"):
        read("--processes", "3").maker("run")(2)
    async with here, spread:
        assert here.control_url.startswith("http://127.0.0.1:")
        assert is_whole(here)
        assert is_whole(spread)
        assert [(await figures_of(fleet)).opened for fleet in (here, spread)] == [0, 0]


async def test_a_fleet_that_is_driven_can_be_found_and_any_other_cannot() -> None:
    service = read("--control", "0")
    async with service.maker("run")(2) as fleet:
        with findable(fleet, service, first=6) as (line,):
            assert line == f"control   {fleet.control_url}   try  fleetsim fault reset --server 6 --for 10s"
            assert [each.url for each in running_fleets()] == [fleet.control_url]
        with findable(fleet, read()) as lines:
            assert (lines, running_fleets()) == ([], [])


def test_things_are_counted_in_words() -> None:
    assert [counted(number, "request") for number in (0, 1, 2000)] == ["0 requests", "1 request", "2,000 requests"]
