from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from swarmpool import errors
from swarmpool.errors import (
    AcquireTimeout,
    AdmissionError,
    AgentUnavailable,
    BadIndex,
    ConnectFailed,
    ConnectTimeout,
    EmptyPool,
    HostfileError,
    LeaseEnded,
    MisuseError,
    PoolClosed,
    QueueTimeout,
    RequestFailed,
    SwarmPoolError,
    TooManyWaiting,
    WrongEventLoop,
)
from swarmpool.responses import FailureKind, Response

TREE: dict[type[SwarmPoolError], tuple[type[BaseException], ...]] = {
    MisuseError: (SwarmPoolError,),
    PoolClosed: (MisuseError,),
    EmptyPool: (MisuseError,),
    BadIndex: (MisuseError, IndexError),
    LeaseEnded: (MisuseError, RuntimeError),
    WrongEventLoop: (MisuseError, RuntimeError),
    AdmissionError: (SwarmPoolError,),
    QueueTimeout: (AdmissionError, TimeoutError),
    AcquireTimeout: (AdmissionError, TimeoutError),
    TooManyWaiting: (AdmissionError,),
    AgentUnavailable: (AdmissionError,),
    ConnectFailed: (SwarmPoolError,),
    ConnectTimeout: (ConnectFailed, TimeoutError),
    RequestFailed: (SwarmPoolError,),
    HostfileError: (SwarmPoolError, ValueError),
}


@pytest.mark.parametrize("error", TREE)
def test_each_error_may_be_caught_as_what_it_is(error: type[SwarmPoolError]) -> None:
    assert error.__bases__ == TREE[error]


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert {*TREE, SwarmPoolError} == {getattr(errors, name) for name in errors.__all__}
    drawn = re.findall(r"[├└]── (\w+) +(?:\((\w+)\))?", inspect.getdoc(errors) or "")
    assert dict(drawn) == {error.__name__: TREE[error][1].__name__ if len(TREE[error]) > 1 else "" for error in TREE}


@pytest.mark.parametrize("error", [error for error in TREE if error is not RequestFailed])
def test_an_error_survives_the_way_to_another_process(error: type[SwarmPoolError]) -> None:
    sent = pickle.loads(pickle.dumps(error("what was wrong")))
    assert (type(sent), str(sent)) == (error, "what was wrong")


@pytest.mark.parametrize("way", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickle", "copy"])
def test_a_failed_request_survives_it_with_its_record(way: object) -> None:
    assert callable(way)
    response = Response(False, "", "cut", kind=FailureKind.RESET)
    sent = way(RequestFailed(response))
    assert (str(sent), sent.response) == ("reset: cut", response)
