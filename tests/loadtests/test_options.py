from __future__ import annotations

import argparse

import pytest

from loadtests.options import OPTIONS, Options, add_options
from loadtests.shapes import SHAPES
from loadtests.thresholds import Limits
from swarmpool import Health, Retry


def test_without_any_the_load_is_steady_and_the_fleet_our_own() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, for_locust=False)
    options = Options.read(vars(parser.parse_args([])))
    assert options == Options.read({})
    assert (options.shape, options.fleet_size, options.seed) == (SHAPES["steady"], 8, 0)
    assert (options.hostfile, options.control, options.fleet_profile) == (None, None, None)
    assert options.limits == SHAPES["steady"].limits
    assert options.care == {"retry": None, "health": None}


def test_every_option_is_read() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, for_locust=False)
    text = (
        "--shape dying --fleet-size 40 --fleet-processes 2 --fleet-profile p.yaml --seed 7 --hostfile h.tsv "
        "--control http://[::1]:80 --report r --max-p95 250 --max-failures 0.2 --min-reuse 0.8 "
        "--min-requests-per-connection 12 --retry 4 --health 6"
    )
    options = Options.read(vars(parser.parse_args(text.split())))
    assert options.limits == Limits(p95=0.25, failures=0.2, reuse=0.8, requests_per_connection=12)
    assert options.written() == {
        "shape": "dying",
        "fleet_size": 40,
        "fleet_processes": 2,
        "fleet_profile": "p.yaml",
        "seed": 7,
        "hostfile": "h.tsv",
        "control": "http://[::1]:80",
        "retry": 4,
        "health": 6,
    }
    assert options.care == {"retry": Retry(tries=4), "health": Health(failures=6)}


def test_text_from_a_web_page_is_as_good_as_that_of_a_command_line() -> None:
    """A field left empty is a default."""
    assert Options.read({"fleet_size": " 12 ", "seed": "", "max_p95": "", "hostfile": None}).fleet_size == 12


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("shape", "square", "--shape: expected one of steady, spike, ramp, dying, keep-alive, herd, got 'square'"),
        ("fleet_size", "0", "--fleet-size: expected a whole number of at least 1, got '0'"),
        ("fleet_size", "-1", "--fleet-size: expected a whole number of at least 1, got '-1'"),
        ("retry", "0", "--retry: expected a whole number of at least 1, got '0'"),
        ("health", "good", "--health: expected a whole number of at least 1, got 'good'"),
        ("seed", "lucky", "--seed: expected a whole number of at least 0, got 'lucky'"),
        ("max_p95", "fast", "--max-p95: expected a number, got 'fast'"),
        ("min_reuse", "95", "reuse: expected a share from 0 to 1, got 95.0"),
        ("control", "http://h:1", "--control: expected a --hostfile with it"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(field: str, value: str, complaint: str) -> None:
    with pytest.raises(ValueError) as refused:
        Options.read({field: value})
    assert str(refused.value).startswith(complaint)


def test_locusts_page_shows_what_may_be_changed_between_two_runs() -> None:
    shown = {option.flag for option in OPTIONS if option.shown}
    assert shown >= {"--fleet-size", "--fleet-profile", "--seed", "--shape"}
