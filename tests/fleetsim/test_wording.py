from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetsim.api.sampling import Sampling
from fleetsim.api.served import Server
from fleetsim.api.wording import Wording, echo_only, word
from fleetsim.profile import Profile

SERVER = Server(Profile(output_tokens=40), seed=1, index=0, in_flight=int)
PROMPT = "hi"


def said(limit: int = 1_000, prompt: str = PROMPT, sequence: int = 0, **asked: Any) -> Wording:
    return word(SERVER, Sampling(**asked), prompt, sequence, limit)


def text_of(wording: Wording) -> str:
    return str(msgspec.json.decode(b'"' + wording.json() + b'"'))


def pieces_of(wording: Wording) -> list[str]:
    return [msgspec.json.decode(b'"' + piece + b'"') for piece in wording.pieces_json()]


TEXT = text_of(said())


@pytest.mark.parametrize(
    ("limit", "asked", "count", "reason"),
    [
        (41, {}, 40, b'"stop"'),
        (40, {}, 40, b'"stop"'),
        (39, {}, 39, b'"length"'),
        (50, {"min_tokens": 45}, 45, b'"stop"'),
        (50, {"ignore_eos": True}, 50, b'"length"'),
    ],
)
def test_an_answer_ends_by_itself_or_by_its_limit(limit: int, asked: dict[str, Any], count: int, reason: bytes) -> None:
    wording = said(limit, **asked)
    assert (wording.count, wording.finish_reason, wording.stop_reason) == (count, reason, b"null")
    assert len(wording.pieces_json()) == count


def test_each_sequence_and_each_seed_says_something_else() -> None:
    texts = {text_of(each) for each in (said(), said(sequence=1), said(seed=1), said(seed=2), said(prompt="ho"))}
    assert len(texts) == 5
    assert text_of(said(seed=1)) == text_of(said(seed=1))


def test_a_stop_string_ends_the_answer_before_it() -> None:
    stop = TEXT[30:36]
    wording = said(stop=stop)
    assert text_of(wording) == TEXT[: TEXT.index(stop)]
    assert (wording.finish_reason, wording.stop_reason) == (b'"stop"', msgspec.json.encode(stop))
    assert wording.count == len(wording.pieces_json()) < 40


def test_a_stop_string_may_be_kept() -> None:
    stop = TEXT[30:36]
    assert text_of(said(stop=[stop], include_stop_str_in_output=True)) == TEXT[: TEXT.index(stop) + len(stop)]


def test_of_two_stop_strings_in_one_token_the_first_of_the_list_wins() -> None:
    """Not the first in the text: vLLM looks for one after the other."""
    first = pieces_of(said(prompt="ho"))[0]
    assert len(set(first)) == len(first) > 2
    wording = said(prompt="ho", stop=[first[-1], first[0]])
    assert (text_of(wording), wording.stop_reason) == (first[:-1], msgspec.json.encode(first[-1]))


def test_stop_strings_wait_for_the_least_length() -> None:
    wording = said(stop=" ", min_tokens=20)
    assert wording.count > 20
    assert text_of(wording).startswith(TEXT[: len("".join(pieces_of(said())[:20]))])


def test_a_stop_string_that_never_comes_changes_nothing_but_the_pieces() -> None:
    wording = said(stop=["\0\0\0\0"])
    assert (text_of(wording), wording.count, wording.finish_reason) == (TEXT, 40, b'"stop"')
    assert wording.pieces_json()[0] == pieces_of(said())[0][:-3].encode()


@given(at=st.integers(0, len(TEXT) - 1), length=st.integers(1, 12), whole=st.booleans())
def test_what_could_be_a_stop_string_is_held_back(at: int, length: int, whole: bool) -> None:
    """Whatever a stream has shown is in the answer to stay: no part of a stop string slips out before it is known."""
    stop = TEXT[at : at + length]
    wording = said(stop=stop, include_stop_str_in_output=whole)
    pieces = pieces_of(wording)
    assert "".join(pieces) == text_of(wording)
    assert len(pieces) == wording.count
    assert TEXT.startswith("".join(pieces))
    assert (stop in "".join(pieces)) == whole


def test_an_echo_goes_before_the_first_piece() -> None:
    wording = word(SERVER, Sampling(), '"hi"', 0, 5, echo=True)
    assert text_of(wording).startswith('"hi"')
    assert "".join(pieces_of(wording)) == text_of(wording)
    assert len(pieces_of(wording)) == wording.count == 5


def test_an_echo_alone_is_one_token_of_work() -> None:
    wording = echo_only(SERVER, "hi")
    assert (text_of(wording), pieces_of(wording), wording.count) == ("hi", ["hi"], 1)
