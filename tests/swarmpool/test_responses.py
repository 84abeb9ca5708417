from __future__ import annotations

import pickle

import pytest

from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import RequestFailed
from swarmpool.responses import EmbeddingResponse, FailureKind, Response, StreamChunk, TokenUsage


def test_unwrap_gives_the_text_of_a_success() -> None:
    assert Response(True, "hi").unwrap() == "hi"


def test_unwrap_raises_a_failure_with_its_record() -> None:
    response = Response(False, "half", "status 500: oom", kind=FailureKind.STATUS, status=500)
    with pytest.raises(RequestFailed, match=r"^status: status 500: oom$") as caught:
        response.unwrap()
    assert caught.value.response is response


def test_unwrap_gives_the_vector_of_a_success_and_raises_anything_else() -> None:
    assert EmbeddingResponse(True, [0.5]).unwrap() == [0.5]
    for failed in (EmbeddingResponse(False, None, "cut", kind=FailureKind.RESET), EmbeddingResponse(False, [0.5])):
        with pytest.raises(RequestFailed) as caught:
            failed.unwrap()
        assert caught.value.response is failed


def test_responses_compare_by_value() -> None:
    one, same = (Response(True, "hi", endpoint=AgentEndpoint("a"), usage=TokenUsage(1, 2, 3)) for _ in range(2))
    assert one == same != Response(True, "hi", endpoint=AgentEndpoint("b"), usage=TokenUsage(1, 2, 3))


def test_a_response_can_be_sent_to_another_process() -> None:
    response = Response(False, "", "cut", 1, 2, AgentEndpoint("a", tags={"rack": "1"}), FailureKind.RESET)
    assert pickle.loads(pickle.dumps(response)) == response


def test_kinds_read_as_words() -> None:
    assert f"{FailureKind.QUEUE_TIMEOUT}" == "queue_timeout"
    assert FailureKind("queue_timeout") is FailureKind.QUEUE_TIMEOUT
    assert len({str(kind) for kind in FailureKind}) == len(FailureKind)


def test_only_the_last_chunk_carries_the_response() -> None:
    assert StreamChunk("he", 1, 0.1).response is None
    assert StreamChunk("", 0, 0.0, Response(True, "he")).response == Response(True, "he")
