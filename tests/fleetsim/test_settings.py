from __future__ import annotations

from typing import Any

import click
import pytest

from fleetsim.settings import Jitter, Setting, whole_number


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("none", {"jitter": "none"}),
        ("normal", {"jitter": "normal"}),
        ("normal:20%", {"jitter": "normal", "spread": 0.2}),
        ("lognormal:0.3", {"jitter": "lognormal", "spread": 0.3}),
    ],
)
def test_jitter_is_a_kind_with_or_without_a_spread(text: str, settings: dict[str, Any]) -> None:
    assert Jitter().convert(text, None, None) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wild", "expected none, normal or lognormal, got 'wild'"),
        ("normal:lots", "spread: expected a number of at least 0, such as 0.1 for 10 percent, got 'lots'"),
        ("normal:-1", "spread: expected a number of at least 0, such as 0.1 for 10 percent, got -1.0"),
    ],
)
def test_another_jitter_is_refused(text: str, message: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        Jitter().convert(text, None, None)
    assert caught.value.message == message


def test_a_setting_is_checked_by_the_profiles_rules() -> None:
    assert Setting("ttft", "TIME").convert("80ms", None, None) == "80ms"
    assert Setting("output_tokens", "N", whole_number).convert("7", None, None) == 7
    with pytest.raises(click.BadParameter) as caught:
        Setting("output_tokens", "N", whole_number).convert("7.5", None, None)
    assert caught.value.message == "expected a whole number of at least 1, got '7.5'"
