from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetsim.tokenizer import IM_START, Tokenizer, UnknownTokenError, cut

VOCABULARY = [" the", "pool", " pool", ".", "\n\n"]
TOKENIZER = Tokenizer(VOCABULARY, seed=4)

texts = st.one_of(
    st.text(),
    st.text(alphabet=" \n\tabcXYZ019_.,!é日<|>"),
    st.lists(st.sampled_from([*VOCABULARY, IM_START, "asynchronous", "    "])).map("".join),
)


@given(texts)
def test_the_ids_of_a_text_decode_to_the_text(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(texts)
def test_counting_agrees_with_encoding(text: str) -> None:
    assert TOKENIZER.count(text) == len(TOKENIZER.encode(text))


def test_counting_stays_right_when_more_words_were_seen_than_are_remembered() -> None:
    words = [f"w{number}x" for number in range(25_000)]
    text = " ".join([*words, "y" * 100, *words[:50]])
    assert TOKENIZER.count(text) == len(TOKENIZER.encode(text))


@given(texts)
def test_ids_fit_in_31_bits_and_each_is_the_text_of_its_own(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert all(0 <= number < 2**31 for number in ids)
    assert "".join(TOKENIZER.piece(number) for number in ids) == text


@given(texts, st.data())
def test_a_text_cut_at_a_token_boundary_keeps_its_tokens(text: str, data: st.DataObject) -> None:
    pieces = cut(text)
    kept = data.draw(st.integers(0, len(pieces)))
    assert cut("".join(pieces[:kept])) == pieces[:kept]
    assert cut("".join(pieces[kept:])) == pieces[kept:]


def test_a_piece_of_the_vocabulary_is_one_token_with_and_without_its_space() -> None:
    assert [TOKENIZER.count(text) for text in (" the", "the", " pool", "\n\n", IM_START)] == [1, 1, 1, 1, 1]


def test_a_strange_word_takes_a_token_for_every_five_letters() -> None:
    assert TOKENIZER.count(" asynchronous") == 3
    assert [TOKENIZER.piece(number) for number in TOKENIZER.encode(" asynchronous")] == [" asyn", "chron", "ous"]


@pytest.mark.parametrize("number", [-1, 60_000, (1 << 16) + 1, (1 << 30) + 65, (1 << 30) + 0xD800, 1 << 31, 1 << 70])
def test_an_id_without_a_text_is_refused_by_number(number: int) -> None:
    with pytest.raises(UnknownTokenError, match=f"token id {number} is not in the vocabulary"):
        TOKENIZER.decode([number])


def test_the_seed_shuffles_the_vocabulary_and_nothing_else() -> None:
    other = Tokenizer(VOCABULARY, seed=5)
    assert Tokenizer(reversed(VOCABULARY), seed=4).encode("the pool") == TOKENIZER.encode("the pool")
    assert other.encode(" the pool.") != TOKENIZER.encode(" the pool.")
    assert other.count(" the pool.") == TOKENIZER.count(" the pool.")


def test_a_vocabulary_too_large_for_its_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 65536 pieces"):
        Tokenizer((str(number) for number in range(70_000)), seed=0)
