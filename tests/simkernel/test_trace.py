from __future__ import annotations

import pytest

from simkernel.errors import SimDivergence
from simkernel.trace import Event, Trace, compare, digest

EVENTS: list[Event] = [(0.0, "listen", 1), (0.5, "fin", "1>"), (1.0, "close", 1)]


def test_equal_events_have_equal_digests() -> None:
    assert digest(EVENTS) == digest(list(EVENTS))
    assert len({digest(EVENTS), digest(EVENTS[:2]), digest([])}) == 3
    assert Trace().digest() == digest([])


def test_equal_traces_compare_equal() -> None:
    compare(EVENTS, list(EVENTS))


def test_the_first_difference_is_told_with_what_came_before_it() -> None:
    with pytest.raises(
        SimDivergence, match=r"(?s)event 1 .*\(0.5, 'fin', '1>'\) and then \(1.0, .*\(0.0, 'listen', 1\)"
    ):
        compare(EVENTS, [EVENTS[0], EVENTS[2]])


def test_a_trace_that_ends_earlier_is_different() -> None:
    with pytest.raises(SimDivergence, match=r"event 2 .*\(1.0, 'close', 1\) and then the end"):
        compare(EVENTS, EVENTS[:2])
