from __future__ import annotations

import json

from loadtests.figures import Figures
from loadtests.timeline import Timeline, Window
from swarmpool import FailureKind, Response


def test_a_point_is_what_happened_since_the_one_before_per_second() -> None:
    timeline, figures = Timeline(), Figures()
    figures.record("unary", 0.1, [Response(True, "")] * 4)
    figures.connections |= {"opened": 4, "reused": 0, "open": 4}
    timeline.add(2.0, 4, Figures.read(figures.written()))
    figures.record("unary", 0.4, [Response(True, ""), Response(False, "", kind=FailureKind.RESET)])
    figures.connections = figures.connections | {"opened": 5, "reused": 3, "open": 5}
    figures.care = figures.care | {"retried": 7, "ejected_now": 2}
    timeline.add(3.0, 8, Figures.read(figures.written()))
    first, second = timeline.points
    assert (first.at, first.users, first.responses, first.failed, first.opened, first.open) == (2.0, 4, 2.0, 0, 2.0, 4)
    assert first.reuse_ratio == 0.0
    assert (second.users, second.responses, second.failed, second.opened, second.reuse_ratio) == (8, 2.0, 1.0, 1, 0.75)
    assert (first.retried, first.ejected, second.retried, second.ejected) == (0, 0, 7.0, 2)
    assert second.p50 is not None
    assert 396 < second.p50 < 404


def test_a_second_in_which_nothing_happened_has_no_durations() -> None:
    timeline = Timeline()
    timeline.add(1.0, 1, Figures())
    (point,) = timeline.points
    assert (point.p50, point.p95, point.reuse_ratio, point.responses) == (None, None, None, 0)


def test_a_point_at_no_later_time_is_left_out() -> None:
    timeline = Timeline()
    timeline.add(1.0, 1, Figures())
    timeline.add(1.0, 1, Figures())
    assert len(timeline.points) == 1


def test_it_can_be_written_as_json() -> None:
    timeline = Timeline()
    timeline.add(1.0, 1, Figures())
    timeline.windows.append(Window(0.2, 0.4, "dead"))
    written = json.loads(json.dumps(timeline.written()))
    assert written["windows"] == [{"begin": 0.2, "end": 0.4, "label": "dead"}]
    assert written["points"][0]["at"] == 1.0
