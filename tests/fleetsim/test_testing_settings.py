from __future__ import annotations

from pathlib import Path

import pytest

from fleetsim import Profile
from fleetsim.testing.settings import DEFAULT_SIZE, OPTIONS, make_fleet

READ = {setting.name: setting.read for setting in OPTIONS}


def test_arguments_of_the_fleet_and_fields_of_the_profile_are_settings() -> None:
    fleet = make_fleet({"size": 2, "seed": 7, "ttft": "80ms", "keepalive_timeout": "1s", "ending": "close"})
    assert (len(fleet), fleet.seed, fleet.profile.ttft, fleet[1].keepalive_timeout) == (2, 7, 0.08, 1.0)
    assert fleet[0].ending.name == "close"


def test_nothing_set_is_a_fleet_of_the_default_size() -> None:
    assert (len(make_fleet({})), make_fleet({}).profile) == (DEFAULT_SIZE, Profile())


def test_fields_go_over_the_profile_given(tmp_path: Path) -> None:
    file = tmp_path / "slow.yaml"
    file.write_text("ttft: 9ms\nmodel: slow\n")
    for profile in (Profile(ttft=0.009, model="slow"), str(file)):
        fleet = make_fleet({"profile": profile, "ttft": "1ms", "keepalive_timeout": "never"})
        assert (fleet.profile.ttft, fleet.profile.model, fleet.profile.keepalive_timeout) == (0.001, "slow", None)


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"sized": 1}, "sized: unknown setting; expected one of answer, api_key, "),
        ({"size": 0}, "size: expected a whole number of at least 1, got 0"),
        ({"seed": "x"}, "seed: expected a whole number, got 'x'"),
        ({"itl": "80"}, "itl: expected a duration such as"),
        ({"profile": "/nowhere.yaml"}, "/nowhere.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_by_name(settings: dict[str, object], refusal: str) -> None:
    with pytest.raises(ValueError, match=refusal):
        make_fleet(settings)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("size", "64", 64),
        ("seed", "-3", -3),
        ("seed", "random", "random"),
        ("ttft", "80ms", 0.08),
        ("keepalive_timeout", "never", "never"),
        ("keepalive_timeout", "2s", 2.0),
        ("ending", "reset;after=9", "reset;after=9"),
    ],
)
def test_an_option_reads_its_text(name: str, text: str, value: object) -> None:
    assert READ[name](text) == value


@pytest.mark.parametrize(("name", "text"), [("size", "0"), ("size", "four"), ("seed", "7.5"), ("itl", "10")])
def test_an_option_refuses_what_cannot_be(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"expected .*got '{text}'"):
        READ[name](text)


def test_an_option_and_its_ini_key_are_the_same_words() -> None:
    (setting,) = (setting for setting in OPTIONS if setting.name == "keepalive_timeout")
    assert (setting.option, setting.key) == ("--fleet-keepalive-timeout", "fleet_keepalive_timeout")
