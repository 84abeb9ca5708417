from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.sse import DONE, EventParser

# All that a stream may hold: comments, other fields, data in several lines, an empty event, CRLF, long characters.
STREAM = (
    b": keep-alive\n\n"
    b'data: {"text": "caf\xc3\xa9 \xf0\x9f\x9a\x80"}\n\n'
    b"event: message\r\nid: 7\r\ndata: one\r\ndata:two\r\n\r\n"
    b"retry: 10\n\n"
    b"data:\n\n"
    b"data:  two spaces, one is kept\n\n\n"
    b"data: [DONE]\n\n"
    b"data: cut short\n"
)
EVENTS = [
    '{"text": "café 🚀"}'.encode(),
    b"one\ntwo",
    b"",
    b" two spaces, one is kept",
    b"[DONE]",
]


def parse(*pieces: bytes) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_a_whole_stream_gives_its_events() -> None:
    assert parse(STREAM) == EVENTS
    assert EVENTS[-1] == DONE


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_cut_at_any_byte_changes_nothing(cut: int) -> None:
    assert parse(STREAM[:cut], STREAM[cut:]) == EVENTS


def test_byte_by_byte_gives_the_same_events() -> None:
    assert parse(*(STREAM[index : index + 1] for index in range(len(STREAM)))) == EVENTS


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cuts_give_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert parse(*(STREAM[start:stop] for start, stop in pairwise(edges))) == EVENTS


@given(
    events=st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)),
    size=st.integers(1, 40),
)
def test_what_is_written_is_read(events: list[str], size: int) -> None:
    stream = b"".join(b"data: " + event.encode() + b"\n\n" for event in events)
    assert parse(*(stream[start : start + size] for start in range(0, len(stream), size))) == [
        event.encode() for event in events
    ]


@given(data=st.binary(max_size=60), cut=st.integers(0, 60))
def test_no_bytes_raise_and_no_cut_of_them_matters(data: bytes, cut: int) -> None:
    assert parse(data) == parse(data[:cut], data[cut:])


def test_events_are_given_as_soon_as_their_last_byte_is_here() -> None:
    parser = EventParser()
    assert parser.feed(b"data: one\n") == []
    assert parser.feed(b"\n") == [b"one"]
    assert parser.feed(b"data: two\r\n") == []
    assert parser.feed(b"\r") == [b"two"], "a CR ends a line, whether an LF follows or not"
    assert parser.feed(b"\n") == []


def test_what_the_end_cuts_short_is_not_an_event() -> None:
    assert parse(b"data: one\n\ndata: half", b"") == [b"one"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_end_of_a_line_will_do_wherever_the_bytes_are_cut(end: bytes) -> None:
    text = b"\xef\xbb\xbfdata: a" + end + b"data: b" + end + end + b"data: c" + end + end
    for cut in range(len(text) + 1):
        parser = EventParser()
        events = parser.feed(text[:cut]) + parser.feed(b"") + parser.feed(text[cut:])
        assert events == [b"a\nb", b"c"], cut
    bytewise = EventParser()
    assert [event for byte in text for event in bytewise.feed(bytes([byte]))] == [b"a\nb", b"c"]
