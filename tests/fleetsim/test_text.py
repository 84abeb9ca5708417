from __future__ import annotations

import subprocess
import sys

import pytest

from fleetsim.text import Corpus, fresh_text, snapshot
from fleetsim.tokenizer import Tokenizer

KEYS = [b"%d" % number for number in range(200)]
SMALL = Corpus("One two. Three four.\n\nFive six.\n\n")


def test_the_same_key_gives_the_same_words_in_another_process() -> None:
    """Text is chosen by a real hash: `hash()` would differ from process to process."""
    code = "from fleetsim.text import snapshot; print(ascii(snapshot().choose(b'key', 40).text()), end='')"
    seen = {subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout for _ in range(2)}
    assert seen == {ascii(snapshot().choose(b"key", 40).text()).encode()}


def test_the_words_of_the_snapshot_are_these() -> None:
    """They may change only with a new snapshot, which every user sees."""
    assert snapshot().choose(b"key", 10).text() == "Information job fill number decade arm Republican writer. Involve"


def test_different_keys_mostly_give_different_words() -> None:
    assert len({snapshot().choose(key, 16).text() for key in KEYS}) > 180


def test_an_answer_begins_with_a_sentence_and_no_space() -> None:
    starts = {snapshot().choose(key, 1).text()[0] for key in KEYS}
    assert not any(start.isspace() or start.islower() for start in starts)


@pytest.mark.parametrize("count", [0, 1, 7, 64, 40_000])
def test_the_four_forms_of_a_passage_agree(count: int) -> None:
    import msgspec

    for key in KEYS[:5]:
        passage = snapshot().choose(key, count)
        text = passage.text()
        assert len(passage.pieces()) == count
        assert "".join(passage.pieces()) == text
        assert b"".join(passage.pieces_json()) == passage.json()
        assert msgspec.json.decode(b'"' + passage.json() + b'"') == text


def test_a_passage_has_as_many_tokens_as_it_says() -> None:
    tokenizer = Tokenizer(snapshot().vocabulary, seed=1)
    for key in KEYS:
        assert tokenizer.count(snapshot().choose(key, 100).text()) == 100


def test_a_long_passage_goes_round() -> None:
    passage = SMALL.choose(b"", 3 * len(SMALL))
    assert passage.text().count("Five six.") == 3
    assert len(passage.pieces()) == 3 * len(SMALL)


def test_a_text_without_a_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one sentence, got ' '"):
        Corpus(" ")


def test_the_corpus_speaks_more_than_ascii() -> None:
    assert any(not piece.isascii() for piece in snapshot().vocabulary)


def test_fresh_text_is_the_same_for_the_same_seed() -> None:
    text = fresh_text(7, paragraphs=20)
    assert text == fresh_text(7, paragraphs=20)
    assert text != fresh_text(8, paragraphs=20)
    assert Corpus(text).choose(b"", 5).count == 5


def test_the_snapshot_needs_no_faker() -> None:
    code = "import sys, fleetsim.text as t; t.snapshot(); sys.exit('faker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
