from __future__ import annotations

import pytest

from loadtests.figures import Figures
from loadtests.summary import summary
from loadtests.thresholds import Finding
from swarmpool import FailureKind, Response


def test_the_reuse_ratio_comes_first_and_the_verdict_last() -> None:
    figures = Figures()
    figures.record("unary", 0.25, [Response(True, "", wire_seconds=0.2), Response(False, "", kind=FailureKind.RESET)])
    figures.connections |= {"opened": 10, "reused": 1_990}
    figures.care |= {"ejected": 2, "probing": 3, "returned": 1, "ejected_now": 1}
    lines = summary(figures, [Finding("p95", "2 s", "at most 1 s", False), Finding("x", "1", "1", True)]).splitlines()
    assert lines[0] == "reuse ratio 0.9950: 10 connections opened, 1,990 reused, 200.0 requests on each"
    (row,) = [line for line in lines if line.startswith("whole run")]
    *words, largest = row.split()
    assert words[:3] == ["whole", "run", "1"]
    assert [float(word) for word in words[3:]] == pytest.approx([250] * 3, rel=0.011)
    assert largest == "250.00"
    assert "failed: reset 1" in lines
    assert "agents ejected, probed, returned, left alone now: 2 / 3 / 1 / 1" in lines
    assert not any("retried" in line for line in lines)
    assert lines[-2:] == ["FAIL  p95: 2 s (wanted: at most 1 s)", "ok    x: 1 (wanted: 1)"]


def test_what_was_not_measured_is_left_out() -> None:
    assert summary(Figures(), []).splitlines()[0] == "no connection was opened"
    assert "first token" not in summary(Figures(), [])
