from __future__ import annotations

import pytest

from fleetsim.engine.request import Request


@pytest.mark.parametrize(
    ("lengths", "complaint"),
    [((0, 1), "prompt_tokens: expected at least 1, got 0"), ((1, 0), "output_tokens: expected at least 1, got 0")],
)
def test_a_request_has_a_prompt_and_an_answer(lengths: tuple[int, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Request(*lengths)


def test_a_request_is_decoding_when_only_its_latest_token_is_to_be_computed() -> None:
    request = Request(5, 3)
    request.computed = 4
    assert not request.decoding, "that is the end of its prompt"
    request.computed, request.generated = 5, 1
    assert (request.decoding, request.tokens, request.left) == (True, 6, 2)
    request.computed = 0
    assert not request.decoding, "it was preempted"
