from __future__ import annotations

from fleetsim.explain import Workload, play
from fleetsim.explain.page import chart, page_lines
from fleetsim.presets import PRESETS


def test_the_highest_bar_is_the_highest_value_and_nothing_is_empty() -> None:
    (line,) = chart("waiting", [0, 1, 4, 8])
    assert line == "waiting | ▁▄█| 8"
    assert chart("waiting", [0, 0]) == ["waiting |  | 0"]


def test_the_page_of_each_preset_fits_the_screen() -> None:
    for shown in PRESETS.values():
        load = Workload(rate=100, prefix=128, requests=100)
        lines = page_lines(shown, shown.limits, load, play(shown, load))
        assert max(map(len, lines)) <= 80
        assert any(line.startswith("time to first token ") for line in lines)


def test_it_says_when_a_server_is_not_enough() -> None:
    shown = PRESETS["8b-l40s"]
    much, little = (Workload(rate=rate, requests=400) for rate in (100, 0.1))
    said = "The queue kept growing: that is more than one such server can do."
    assert page_lines(shown, shown.limits, much, play(shown, much))[-1] == said
    assert said not in page_lines(shown, shown.limits, little, play(shown, little))
