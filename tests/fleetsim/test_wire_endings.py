"""Every ending, unary and stream, as a raw socket sees it and as the ledger tells it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from answers import DONE, Witness, always, hello, streamed
from raw_http import Peer, dated, get, post

from fleetsim import Answer, ConnectionRecord, Ending, EndingError, Fleet, RequestRecord, Unary
from fleetsim.wire.endings import (
    DEFAULT_ENDING,
    Delayed,
    Eager,
    Reset,
    Split,
    Truncated,
    as_ending,
    catalogued,
    ending_names,
    parse_ending,
)

BODY = b'{"read":0}'
CHUNKED_BODY = b'a\r\n{"read":0}\r\n'
FIRST, LAST = b"9\r\ndata: 1\n\n\r\n", b"e\r\ndata: [DONE]\n\n\r\n"
TERMINATOR = b"0\r\n\r\n"

unary: Answer = hello
stream: Answer = streamed(b"data: 1\n\n", DONE)


@asynccontextmanager
async def asking(answer: Answer, ending: str) -> AsyncIterator[tuple[Fleet, Peer]]:
    """A fleet of one and a connection on which a request with this ending has been sent."""
    async with Fleet(1, answer=lambda index: answer) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/", f"x-fleet-ending: {ending}"))
        yield fleet, peer


async def last_lines(fleet: Fleet) -> tuple[ConnectionRecord, RequestRecord]:
    await fleet.ledger.wait_for(open_now=0)
    return fleet.ledger.connection_records()[-1], fleet.ledger.request_records()[-1]


def body_of(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


def test_the_catalogue_has_the_first_set() -> None:
    assert ending_names() == (
        "split",
        "eager",
        "delayed",
        "never",
        "truncated",
        "reset",
        "close",
        "until_close",
        "before_head",
    )


@pytest.mark.parametrize("name", ending_names())
def test_every_ending_says_what_it_does(name: str) -> None:
    assert (type(parse_ending(name)).__doc__ or "").strip()


def test_an_ending_cannot_be_changed() -> None:
    ending = Split()
    with pytest.raises(dataclasses.FrozenInstanceError):
        ending.gap = 1.0  # type: ignore[misc]  # the point


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("eager", Eager()),
        (" delayed ; seconds = 50ms ", Delayed(seconds=0.05)),
        ("split;gap=2s;", Split(gap=2.0)),
        ("truncated;after=7", Truncated(after=7)),
    ],
)
def test_an_ending_is_parsed_with_its_parameters(text: str, ending: Ending) -> None:
    assert parse_ending(text) == ending


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("slow", "unknown ending 'slow'; expected one of split, eager, "),
        ("", "unknown ending ''; expected one of "),
        ("eager;gap=1s", "fault 'eager' has no parameter 'gap'; it takes none"),
        ("delayed;second=1s", "fault 'delayed' has no parameter 'second'; expected seconds"),
        ("delayed;seconds", "fault 'delayed': expected seconds=value, got 'seconds'"),
        ("delayed;seconds=soon", "fault 'delayed': seconds: expected a duration"),
        ("delayed;seconds=-1", "fault 'delayed': seconds: expected a duration"),
        ("reset;after_chunks=-1", "fault 'reset': after_chunks: expected a whole number of chunks, got '-1'"),
        ("reset;after=1kB", "fault 'reset': after: expected a whole number of bytes, got '1kB'"),
    ],
)
def test_a_wrong_ending_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(EndingError) as caught:
        parse_ending(text)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("after", [-1, True, 1.5])
def test_a_parameter_is_checked_when_the_ending_is_made(after: object) -> None:
    with pytest.raises(EndingError, match="after: expected a whole number of bytes"):
        Reset(after=after)  # type: ignore[arg-type]  # the point


def test_a_name_is_catalogued_once() -> None:
    with pytest.raises(ValueError, match="has a fault 'eager' already"):
        catalogued(Eager)
    assert ending_names().count("eager") == 1


def test_as_ending_takes_a_name_an_ending_or_none() -> None:
    assert as_ending("eager") == Eager()
    assert as_ending(Split(gap=1.0)) == Split(gap=1.0)
    assert as_ending(None) is DEFAULT_ENDING
    with pytest.raises(EndingError, match="got 7"):
        as_ending(7)  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize("answer", [unary, stream], ids=["unary", "stream"])
@pytest.mark.parametrize("ending", ["split", "split;gap=5ms", "eager", "delayed;seconds=5ms"])
async def test_whole_endings_keep_the_connection(ending: str, answer: Answer) -> None:
    async with asking(answer, ending) as (fleet, peer):
        await fleet.ledger.wait_for(requests=1, in_flight=0)
        await peer.send(post("/"))
        await fleet.ledger.wait_for(requests=2, in_flight=0)
        assert fleet.ledger.open_now == 1
        assert [each.outcome for each in fleet.ledger.request_records()] == ["complete", "complete"]
        assert fleet.ledger.request_records()[0].ending == ending.partition(";")[0]


@pytest.mark.parametrize("ending", ["split", "split;gap=5ms", "eager"])
async def test_split_and_eager_send_the_same_bytes(ending: str) -> None:
    async with asking(unary, ending) as (_, peer):
        assert body_of(await peer.response()) == BODY
    async with asking(stream, ending) as (_, peer):
        assert body_of(await peer.until(TERMINATOR)) == FIRST + LAST + TERMINATOR


async def test_the_gap_of_split_lies_between_head_and_body() -> None:
    async with asking(unary, "split;gap=1h") as (fleet, peer):
        assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert peer.is_quiet()
        assert fleet.ledger.in_flight == 1


async def test_eager_waits_for_the_last_event_before_it_sends_the_head() -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness, ending="eager") as fleet, Peer(fleet[0].port) as peer:
        await peer.send(post("/stream"))
        await witness.begun.wait()
        assert peer.is_quiet()
        witness.let_go.set()
        assert body_of(await peer.until(TERMINATOR)) == FIRST + LAST + TERMINATOR


@pytest.mark.parametrize(("answer", "body"), [(unary, CHUNKED_BODY), (stream, FIRST + LAST)], ids=["unary", "stream"])
async def test_delayed_sends_the_body_and_withholds_its_end(answer: Answer, body: bytes) -> None:
    async with asking(answer, "delayed;seconds=1h") as (fleet, peer):
        assert body_of(await peer.until(body)) == body
        assert peer.is_quiet()
        assert fleet.ledger.in_flight == 1


@pytest.mark.parametrize("answer", [unary, stream], ids=["unary", "stream"])
async def test_delayed_ends_in_the_end(answer: Answer) -> None:
    async with asking(answer, "delayed;seconds=1ms") as (_, peer):
        assert (await peer.until(TERMINATOR)).endswith(b"\r\n" + TERMINATOR)


@pytest.mark.parametrize(("answer", "body"), [(unary, CHUNKED_BODY), (stream, FIRST + LAST)], ids=["unary", "stream"])
async def test_never_lasts_until_the_client_goes(answer: Answer, body: bytes) -> None:
    async with asking(answer, "never") as (fleet, peer):
        assert body_of(await peer.until(body)) == body
        assert peer.is_quiet()
        peer.close()
        connection, request = await last_lines(fleet)
        assert (connection.ended_by, request.outcome, request.ending) == ("client", "client_gone", "never")


@pytest.mark.parametrize(
    ("answer", "parameter", "part"),
    [
        (unary, "", BODY[:5]),
        (unary, ";after=0", b""),
        (unary, ";after=3", BODY[:3]),
        (unary, ";after=1000", BODY[:-1]),
        (stream, "", FIRST + LAST[:9]),
        (stream, ";after=0", b""),
        (stream, ";after=3", FIRST[:3]),
        (stream, ";after=14", FIRST),
        (stream, ";after=20", FIRST + LAST[:6]),
        (stream, ";after=1000", FIRST + LAST),
        (stream, ";after_chunks=0", b""),
        (stream, ";after_chunks=1", FIRST),
        (stream, ";after_chunks=2", FIRST + LAST),
        (stream, ";after_chunks=9", FIRST + LAST),
        (stream, ";after_chunks=1;after=3", FIRST + LAST[:3]),
        (stream, ";after=3;after_chunks=1", FIRST + LAST[:3]),
        (stream, ";after_chunks=0;after=3", FIRST[:3]),
        (stream, ";after_chunks=1;after=1000", FIRST + LAST),
        (unary, ";after_chunks=0", b""),
        (unary, ";after_chunks=1", BODY[:-1]),
        (unary, ";after_chunks=2", BODY[:-1]),
        (unary, ";after_chunks=0;after=3", BODY[:3]),
        (unary, ";after_chunks=1;after=3", BODY[:-1]),
        (always(Unary(200, b"")), "", b""),
    ],
)
@pytest.mark.parametrize("ending", ["truncated", "reset"])
async def test_a_body_is_cut_where_it_is_told(ending: str, answer: Answer, parameter: str, part: bytes) -> None:
    async with asking(answer, ending + parameter) as (fleet, peer):
        response = await (peer.to_the_end() if ending == "truncated" else peer.to_the_reset())
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body_of(response) == part
        connection, request = await last_lines(fleet)
        assert connection.ended_by == "server"
        assert connection.ended_how == ("fin" if ending == "truncated" else "rst")
        assert (request.outcome, request.status) == ("cut", 200)


@pytest.mark.parametrize("ending", ["truncated", "reset"])
async def test_a_cut_behind_whole_chunks_does_not_wait_for_the_next(ending: str) -> None:
    witness = Witness()
    async with Fleet(1, answer=lambda index: witness, ending=f"{ending};after_chunks=1") as fleet:
        async with Peer(fleet[0].port) as peer:
            await peer.send(post("/stream"))
            assert body_of(await (peer.to_the_end() if ending == "truncated" else peer.to_the_reset())) == FIRST
        assert (await last_lines(fleet))[1].outcome == "cut"
        assert not witness.begun.is_set()


async def test_a_cut_response_has_announced_more_than_it_sends() -> None:
    async with asking(always(Unary(200, b"")), "truncated") as (_, peer):
        assert b"content-length: 1\r\n" in await peer.to_the_end()


async def test_a_reset_of_a_large_body_waits_until_the_kernel_has_taken_it() -> None:
    """What we still buffered would be thrown away by a reset; what the kernel buffers always is."""
    async with asking(always(Unary(200, b"x" * 30_000_000)), "reset") as (_, peer):
        arrived = len(body_of(await peer.to_the_reset()))
        assert 15_000_000 - largest_send_buffer() <= arrived <= 15_000_000


def largest_send_buffer() -> int:
    limits = Path("/proc/sys/net/ipv4/tcp_wmem")
    return int(limits.read_text().split()[-1]) if limits.exists() else 10_000_000


@pytest.mark.parametrize(("answer", "body"), [(unary, BODY), (stream, FIRST + LAST + TERMINATOR)])
async def test_close_says_so_and_is_whole(answer: Answer, body: bytes) -> None:
    async with asking(answer, "close") as (fleet, peer):
        response = await peer.to_the_end()
        assert b"\r\nvary: Origin\r\nconnection: close\r\n" in response
        assert body_of(response) == body
        connection, request = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how, request.outcome) == ("server", "fin", "complete")


@pytest.mark.parametrize(
    ("answer", "body", "content_type"),
    [
        (unary, BODY, b"application/json"),
        (stream, b"data: 1\n\n" + DONE, b"text/event-stream; charset=utf-8"),
    ],
    ids=["unary", "stream"],
)
async def test_until_close_has_no_length_and_no_chunks(answer: Answer, body: bytes, content_type: bytes) -> None:
    async with asking(answer, "until_close") as (fleet, peer):
        assert dated(await peer.to_the_end()) == (
            b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-type: %b\r\nvary: Origin\r\n\r\n%b"
            % (content_type, body)
        )
        assert (await last_lines(fleet))[1].outcome == "complete"


async def test_before_head_is_a_fin_and_computes_no_answer() -> None:
    witness = Witness()
    async with asking(witness, "before_head") as (fleet, peer):
        assert await peer.to_the_end() == b""
        connection, request = await last_lines(fleet)
        assert (connection.ended_by, connection.ended_how) == ("server", "fin")
        assert (request.outcome, request.status, request.ending) == ("cut", None, "before_head")
        assert witness.calls == []


@pytest.mark.parametrize("ending", ["delayed;seconds=0", "truncated", "until_close", "close", "eager"])
async def test_no_ending_sends_a_body_in_answer_to_head(ending: str) -> None:
    async with Fleet(1, answer=lambda index: unary) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(get("/", f"x-fleet-ending: {ending}", "connection: close", method="HEAD"))
        response = await peer.to_the_end()
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body_of(response) == b""


async def test_the_ending_of_a_server_holds_from_its_next_request_on() -> None:
    async with Fleet(2, answer=lambda index: unary) as fleet:
        fleet[1].ending = "close"
        for server, keeps in zip(fleet, (True, False), strict=True):
            async with Peer(server.port) as peer:
                await peer.send(post("/"))
                assert (b"connection: close" not in await peer.response()) is keeps


async def test_the_ending_of_a_fleet_is_set_at_once_or_not_at_all() -> None:
    async with Fleet(2, answer=lambda index: unary) as fleet:
        fleet.set_ending("eager")
        assert [server.ending for server in fleet] == [Eager(), Eager()]
        with pytest.raises(EndingError):
            fleet.set_ending("slow")
        assert [server.ending for server in fleet] == [Eager(), Eager()]
        fleet.set_ending(None)
        assert [server.ending for server in fleet] == [DEFAULT_ENDING, DEFAULT_ENDING]
