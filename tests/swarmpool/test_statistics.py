from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

from swarmpool.responses import FailureKind
from swarmpool.statistics import RequestCounts


def test_requests_are_counted_by_how_they_ended() -> None:
    counts = RequestCounts()
    for kind in (None, None, FailureKind.RESET, FailureKind.ABANDONED, FailureKind.RESET):
        counts.count(kind)
    counts.cancelled += 1
    now = counts.statistics()
    assert (now.succeeded, now.failed, now.cancelled, now.abandoned_streams) == (2, 3, 1, 1)
    assert now.failures == {FailureKind.RESET: 2, FailureKind.ABANDONED: 1}


def test_a_record_does_not_change_with_what_comes_later() -> None:
    counts = RequestCounts()
    before = counts.statistics()
    counts.count(FailureKind.RESET)
    assert (before.failed, dict(before.failures)) == (0, {})


def test_a_record_cannot_be_changed() -> None:
    now = RequestCounts().statistics()
    with pytest.raises(AttributeError):
        now.succeeded = 1  # type: ignore[misc]  # the refusal is what is tested
    with pytest.raises(TypeError):
        now.failures[FailureKind.RESET] = 1


def test_asking_for_a_kind_that_never_came_counts_nothing() -> None:
    counts = RequestCounts()
    assert counts.statistics().abandoned_streams == 0
    assert FailureKind.ABANDONED not in counts.statistics().failures


def test_a_record_goes_through_asdict_json_and_pickle() -> None:
    counts = RequestCounts()
    counts.count(FailureKind.RESET)
    record = counts.statistics()
    assert json.loads(json.dumps(dataclasses.asdict(record)))["failures"] == {"reset": 1}
    assert pickle.loads(pickle.dumps(record)) == record
