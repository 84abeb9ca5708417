from __future__ import annotations

import pytest

from fleetsim.faults.catalogue import Fault, fault_types
from fleetsim.faults.told import EITHER, KINDS, LATE, NEVER, WHOLE, Ends, Told, either, failed, never


def test_it_reads_as_a_sentence_with_the_kinds_in_their_own_order() -> None:
    assert str(WHOLE) == "the whole answer"
    assert str(failed("reset", "disconnected")) == "a failure (disconnected or reset)"
    assert str(NEVER) == "a failure when the client's own limit has passed (timeout)"


def test_a_time_limit_may_end_what_is_late_or_never_comes_or_may_go_either_way() -> None:
    assert [told.lasts for told in (WHOLE, failed("status"), LATE, NEVER, EITHER)] == [False, False, True, True, True]


def test_what_never_comes_is_a_timeout_whatever_else_it_may_be() -> None:
    assert never("truncated").kinds == {"timeout", "truncated"}
    assert either("protocol") == Told(Ends.EITHER, frozenset({"protocol"}))


@pytest.mark.parametrize("kind", fault_types(), ids=lambda kind: kind.name)
def test_each_fault_uses_the_words_there_are(kind: type[Fault]) -> None:
    for told in (kind.told, kind.told_of_stream):
        if told is not None:
            assert told.kinds <= set(KINDS)
            assert not (told.ends is Ends.WHOLE and told.kinds)


def test_the_words_are_those_of_the_library() -> None:
    responses = pytest.importorskip("swarmpool.responses")
    assert set(KINDS) <= {kind.value for kind in responses.FailureKind}
