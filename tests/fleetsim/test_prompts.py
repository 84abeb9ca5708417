from __future__ import annotations

import pytest

from fleetsim.api.prompts import Given, Prompt, as_list, look_at
from fleetsim.api.refusals import RefusalError
from fleetsim.api.served import served
from fleetsim.profile import Profile

SERVED = served(Profile())


@pytest.mark.parametrize(
    ("given", "prompts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["a", [1]], ["a", [1]]),
        ([], []),
    ],
    ids=str,
)
def test_all_forms_become_a_list(given: Given, prompts: list[str | list[int]]) -> None:
    assert as_list(given) == prompts


def test_ids_between_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a string, a list of strings, a list of tokens"):
        as_list(["a", 1])


def test_a_prompt_has_a_text_and_a_length_either_way() -> None:
    ids = SERVED.tokenizer.encode("hello there")
    assert look_at(SERVED, "hello there") == Prompt("hello there", len(ids), exact=False)
    assert look_at(SERVED, ids) == Prompt("hello there", len(ids), exact=True)


def test_an_id_out_of_the_vocabulary_is_refused() -> None:
    with pytest.raises(RefusalError, match="Token id 60000 is out of vocabulary"):
        look_at(SERVED, [1, 60_000])
