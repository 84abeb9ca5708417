from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_websocket import masked

from fleetsim.wire.frames import FrameReader, Opcode, ProtocolError, close_code, frame, whole_close

LIMIT = 1_000


def read(data: bytes, *, max_size: int = LIMIT, step: int | None = None) -> list[tuple[int, bytes]]:
    """What a reader makes of the bytes, fed `step` at a time."""
    reader = FrameReader(max_size)
    step = step or max(len(data), 1)
    return [
        (int(received.opcode), received.data)
        for start in range(0, len(data), step)
        for received in reader.feed(data[start : start + step])
    ]


@pytest.mark.parametrize(("length", "header"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_servers_frame_is_unmasked_and_its_length_takes_the_fewest_bytes(length: int, header: int) -> None:
    made = frame(Opcode.BINARY, b"x" * length)
    assert len(made) == header + length
    assert made[0] == 0x82
    assert not made[1] & 0x80


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("step", [1, 7, None])
def test_a_clients_frame_is_read_however_it_comes(length: int, step: int | None) -> None:
    data = bytes(range(256)) * (length // 256 + 1)
    got = read(masked(2, data[:length]), max_size=1 << 20, step=step if length < 1_000 else None)
    assert got == [(2, data[:length])]


def test_fragments_become_one_message_and_a_ping_may_come_between() -> None:
    data = masked(1, b"a", last=False) + masked(9, b"p") + masked(0, b"b", last=False) + masked(0, b"c")
    assert read(data) == [(9, b"p"), (1, b"abc")]


@given(
    messages=st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=4), max_size=5),
    step=st.integers(min_value=1, max_value=200),
)
def test_messages_survive_any_fragments_and_any_segments(messages: list[list[bytes]], step: int) -> None:
    data = b"".join(
        masked(2 if index == 0 else 0, part, last=index == len(parts) - 1)
        for parts in messages
        for index, part in enumerate(parts)
    )
    assert read(data, max_size=1 << 20, step=step) == [(2, b"".join(parts)) for parts in messages]


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (b"\x81\x02hi", 1002, "incorrect masking"),
        (masked(3, b"a"), 1002, "invalid opcode"),
        (masked(11, b"a"), 1002, "invalid opcode"),
        (masked(1, b"a", bits=4), 1002, "reserved bits must be 0"),
        (masked(1, b"a", bits=1), 1002, "reserved bits must be 0"),
        (masked(9, b"a", bits=4), 1002, "reserved bits must be 0"),
        (masked(0, b"a"), 1002, "unexpected continuation frame"),
        (masked(1, b"a", last=False) + masked(1, b"b"), 1002, "expected a continuation frame"),
        (masked(9, b"a", last=False), 1002, "fragmented control frame"),
        (masked(9, b"a" * 126), 1002, "control frame too long"),
        (masked(1, b"a", last=False) + masked(8), 1002, "incomplete fragmented message"),
        (masked(1, b"a" * 1_001)[:4], 1009, "frame with 1001 bytes exceeds limit of 1000 bytes"),
        (
            masked(1, b"a" * 990, last=False) + masked(0, b"a" * 11)[:2],
            1009,
            "frame with 11 bytes after reading 990 bytes exceeds limit of 1000 bytes",
        ),
    ],
)
def test_a_mistake_has_the_code_and_the_words_of_vllms_server(data: bytes, code: int, reason: str) -> None:
    """As recorded from uvicorn 0.54 with websockets 17.4."""
    with pytest.raises(ProtocolError) as caught:
        read(data)
    assert (caught.value.code, caught.value.reason) == (code, reason)


def test_what_came_before_a_mistake_is_still_had() -> None:
    received = FrameReader(LIMIT).feed(masked(1, b"good") + b"\x81\x02hi")
    assert next(received) == (Opcode.TEXT, b"good")
    with pytest.raises(ProtocolError):
        next(received)


def test_a_message_of_just_the_limit_is_taken() -> None:
    assert read(masked(1, b"a" * LIMIT)) == [(1, b"a" * LIMIT)]


def test_the_limit_is_of_each_message_and_not_of_all() -> None:
    fragmented = masked(1, b"a" * 600, last=False) + masked(0, b"a" * 400)
    assert [len(data) for _, data in read(fragmented * 3 + masked(1, b"a" * LIMIT))] == [LIMIT] * 4


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1014, 3000, 4999])
def test_a_close_frame_says_a_code(code: int) -> None:
    assert close_code(struct.pack("!H", code) + b"bye") == code


def test_an_empty_close_frame_says_no_code() -> None:
    assert close_code(b"") == 1005


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (b"x", 1002, "close frame too short"),
        (struct.pack("!H", 999), 1002, "invalid status code"),
        (struct.pack("!H", 1005), 1002, "invalid status code"),
        (struct.pack("!H", 1015), 1002, "invalid status code"),
        (struct.pack("!H", 2999), 1002, "invalid status code"),
        (struct.pack("!H", 5000), 1002, "invalid status code"),
        (struct.pack("!H", 1000) + b"\xff", 1007, "invalid start byte at position 0"),
    ],
)
def test_a_close_frame_that_cannot_be_is_a_mistake(data: bytes, code: int, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        close_code(data)
    assert (caught.value.code, caught.value.reason) == (code, reason)


def test_a_reason_is_cut_between_characters_to_fit_a_control_frame() -> None:
    made = whole_close(1000, "é" * 100)
    assert len(made) == 2 + 2 + 122
    assert made[4:].decode() == "é" * 61
