from __future__ import annotations

import logging
import sys
import warnings

import pytest

from fleetsim.proofs.complaints import listening


class Screams:
    def __del__(self) -> None:
        raise ValueError("ouch")


def test_warnings_unraisable_exceptions_and_asyncio_errors_are_kept_as_text() -> None:
    with listening() as complaints:
        warnings.warn("a pool was dropped", ResourceWarning, stacklevel=1)
        Screams()
        logging.getLogger("asyncio").error("Unclosed %s", "session")
        assert complaints.collect() == [
            "ResourceWarning: a pool was dropped",
            "unraisable ValueError: ouch",
            "asyncio: Unclosed session",
        ]


def test_a_complaint_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    with listening():
        logging.getLogger("asyncio").error("Unclosed session")
    assert not caplog.records


def test_what_asyncio_says_by_the_way_is_no_complaint(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "asyncio"), listening() as complaints:
        logging.getLogger("asyncio").debug("using a selector")
        assert not complaints.collect()
    assert [record.message for record in caplog.records] == ["using a selector"]


def test_afterwards_everything_is_as_before() -> None:
    before = sys.unraisablehook, warnings.showwarning, list(logging.getLogger("asyncio").filters)
    with listening():
        pass
    assert (sys.unraisablehook, warnings.showwarning, list(logging.getLogger("asyncio").filters)) == before


def test_garbage_of_before_is_not_held_against_the_claim() -> None:
    class Node(Screams):
        other: object = None

    with listening() as outer:
        node = Node()
        node.other = node
        del node
        with listening() as complaints:
            assert not complaints.texts
        assert outer.texts == ["unraisable ValueError: ouch"]
