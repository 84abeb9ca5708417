from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_websocket import masked

from fleetsim.wire.deflate import Deflate, negotiate
from fleetsim.wire.frames import FrameReader, ProtocolError

NAME = "permessage-deflate"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (NAME, f"{NAME}; server_max_window_bits=12"),
        (
            f"{NAME}; client_max_window_bits",
            f"{NAME}; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            f"{NAME}; server_max_window_bits=10; client_max_window_bits=15; server_no_context_takeover",
            f"{NAME}; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=12",
        ),
        (
            f"{NAME}; server_max_window_bits=15; client_max_window_bits=9; client_no_context_takeover",
            f"{NAME}; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits=9",
        ),
        (f'{NAME}; server_max_window_bits="9"', f"{NAME}; server_max_window_bits=9"),
        (f"x-other, {NAME}; foo=1, {NAME}", f"{NAME}; server_max_window_bits=12"),
        (f"{NAME}; server_max_window_bits=8, {NAME}", f"{NAME}; server_max_window_bits=12"),
    ],
)
def test_an_offer_is_answered_as_uvicorn_does(offer: str, answer: str) -> None:
    """As recorded from uvicorn 0.54 with websockets 17.4."""
    agreed = negotiate(offer)
    assert agreed is not None
    assert agreed.header == answer


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-other",
        f"{NAME}; foo=1",
        f"{NAME}; server_max_window_bits",
        f"{NAME}; server_max_window_bits=16",
        f"{NAME}; client_max_window_bits=7",
        f"{NAME}; server_no_context_takeover=1",
        f"{NAME}; client_no_context_takeover; client_no_context_takeover",
    ],
)
def test_what_cannot_be_met_is_declined(offer: str) -> None:
    assert negotiate(offer) is None


def agreed_on(offer: str = NAME) -> Deflate:
    agreed = negotiate(offer)
    assert agreed is not None
    return agreed


def test_a_message_is_compressed_to_uvicorns_bytes() -> None:
    """As recorded from uvicorn 0.54 with websockets 17.4."""
    assert agreed_on().deflate(b"hi" * 10) == b"\xca\xc8\xcc\xc0\x80\x00\x00"


@pytest.mark.parametrize("takeover", ["", "; server_no_context_takeover; client_no_context_takeover"])
@given(messages=st.lists(st.binary(max_size=5_000), max_size=5), cut=st.integers(min_value=0, max_value=40))
def test_messages_come_back_from_either_side(takeover: str, messages: list[bytes], cut: int) -> None:
    server, client = agreed_on(NAME + takeover), agreed_on(NAME + takeover)
    reader = FrameReader(1 << 20, server)
    inflater = FrameReader(1 << 20, client)
    for message in messages:
        packed = client.deflate(message)
        frames = masked(2, packed[:cut], last=False, bits=4) + masked(0, packed[cut:])
        assert [each.data for each in reader.feed(frames)] == [message]
        assert [each.data for each in inflater.feed(masked(2, server.deflate(message), bits=4))] == [message]


def test_a_message_that_swells_beyond_the_limit_is_a_mistake() -> None:
    reader, packed = FrameReader(1_000, agreed_on()), agreed_on().deflate(b"\x00" * 1_001)
    with pytest.raises(ProtocolError) as caught:
        list(reader.feed(masked(2, packed, bits=4)))
    assert (caught.value.code, caught.value.reason) == (1009, "frame exceeds limit of 1000 bytes")


def test_a_message_that_swells_to_just_the_limit_is_taken() -> None:
    reader, packed = FrameReader(1_000, agreed_on()), agreed_on().deflate(b"\x00" * 1_000)
    assert [len(each.data) for each in reader.feed(masked(2, packed, bits=4))] == [1_000]


def test_garbage_is_a_mistake() -> None:
    reader = FrameReader(1_000, agreed_on())
    with pytest.raises(ProtocolError) as caught:
        list(reader.feed(masked(2, b"\xff\xff\xff\xff", bits=4)))
    assert (caught.value.code, caught.value.reason) == (1002, "decompression failed")
    assert isinstance(caught.value.__cause__, zlib.error)


def test_an_uncompressed_message_is_taken_all_the_same() -> None:
    assert [each.data for each in FrameReader(1_000, agreed_on()).feed(masked(1, b"plain"))] == [b"plain"]
