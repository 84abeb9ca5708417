"""Each fault of a server whose process lives: what a raw socket gets, and what aiohttp's client makes of it."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from answers import hello
from raw_http import Peer, dated, get, post

from fleetsim import FaultError, Fleet, Profile, ServerState, parse_fault

JSON = "content-type: application/json"
HEALTHY = b"HTTP/1.1 200 OK\r\ndate: <date>\r\nserver: uvicorn\r\ncontent-length: 0\r\nvary: Origin\r\n\r\n"
UNWELL = HEALTHY.replace(b"200 OK", b"503 Service Unavailable")
FAILED = b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'
SLOW = Profile(ttft=0.001, itl=0.001, output_tokens=3)


def chat(**words: Any) -> bytes:
    body = {"messages": [{"role": "user", "content": "hi"}], **words}
    return post("/v1/chat/completions", JSON, body=json.dumps(body).encode())


async def said(peer: Peer, request: bytes) -> bytes:
    await peer.send(request)
    return dated(await peer.response())


async def status(session: aiohttp.ClientSession, method: str, url: str) -> int:
    async with session.request(method, url) as response:
        await response.read()
        return response.status


async def test_in_a_brown_out_nothing_comes_for_so_many_times_as_long() -> None:
    async with Fleet(1, profile=SLOW) as fleet, Peer(fleet[0].port) as peer:
        await said(peer, chat())
        async with fleet[0].fault("brown_out", factor=1e6) as rule:
            await peer.send(chat())
            await fleet.ledger.wait_for(in_flight=1)
            assert peer.is_quiet()
            assert (rule.armed, rule.fired) == (1, 1)
        async with Peer(fleet[0].port) as healed:
            assert (await said(healed, chat())).startswith(b"HTTP/1.1 200 OK\r\n")
        assert [each.faults for each in fleet.ledger.request_records()] == [(), ("brown_out",), ()]


async def test_a_brown_out_changes_no_byte() -> None:
    async def answered(fleet: Fleet) -> bytes:
        async with Peer(fleet[0].port) as peer:
            await peer.send(chat(stream=True))
            return dated(await peer.until(b"0\r\n\r\n"))

    profile = Profile(ttft=0.001, itl=0.0005, output_tokens=3, faults=[{"fault": "brown_out;factor=2"}])  # type: ignore[arg-type]  # what people write
    async with Fleet(1, profile=SLOW) as fleet, Fleet(1, profile=profile) as browned:
        plain, slowed = await answered(fleet), await answered(browned)
    assert slowed.count(b"data: ") == plain.count(b"data: ") == 5
    assert slowed.split(b'"created"')[0] == plain.split(b'"created"')[0]


async def test_aiohttp_times_out_in_a_brown_out_and_not_after_it() -> None:
    timeout = aiohttp.ClientTimeout(sock_read=0.05)
    body = {"messages": [{"role": "user", "content": "hi"}]}
    async with Fleet(1, profile=SLOW) as fleet, aiohttp.ClientSession(fleet[0].url, timeout=timeout) as session:
        async with fleet[0].fault("brown_out", factor=1e6):
            with pytest.raises(aiohttp.SocketTimeoutError):
                await session.post("/v1/chat/completions", json=body)
        async with session.post("/v1/chat/completions", json=body, timeout=aiohttp.ClientTimeout(10)) as response:
            assert response.status == 200


@pytest.mark.parametrize("factor", [0, -1, "slow", float("inf"), float("nan"), True, None])
def test_a_factor_that_cannot_be_is_refused(factor: object) -> None:
    with pytest.raises(FaultError, match="fault 'brown_out': factor: expected a number of times above 0, got"):
        parse_fault("brown_out").__class__(factor=factor)  # type: ignore[call-arg]  # its parameter


async def test_health_says_well_while_all_else_fails() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        async with fleet[0].fault("lying_health"):
            assert await said(peer, get("/health")) == HEALTHY
            assert await said(peer, post("/ping")) == HEALTHY
            failed = await said(peer, chat())
            assert failed.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
            assert failed.endswith(FAILED)
            assert (await said(peer, get("/v1/models"))).endswith(FAILED)
        assert (await said(peer, chat())).startswith(b"HTTP/1.1 200 OK\r\n")
        assert fleet.ledger.opened == 1


async def test_health_says_unwell_while_all_else_is_well() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer:
        async with fleet[0].fault("lying_health", says="unwell"):
            assert await said(peer, get("/health")) == UNWELL
            assert (await said(peer, chat())).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await said(peer, get("/health")) == HEALTHY


@pytest.mark.parametrize(
    ("fault", "health", "other"),
    [("lying_health", 200, 500), ("lying_health;status=503", 200, 503), ("lying_health;says=unwell", 503, 200)],
)
async def test_aiohttp_gets_both_statuses_and_no_error(fault: str, health: int, other: int) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, aiohttp.ClientSession(fleet[0].url) as session:
        async with fleet[0].fault(fault):
            assert await status(session, "GET", "/health") == health
            assert await status(session, "POST", "/any") == other
        assert await status(session, "GET", "/health") == await status(session, "POST", "/any") == 200


async def test_of_two_lies_the_later_one_is_told_until_it_comes_off() -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, aiohttp.ClientSession(fleet[0].url) as session:
        well, unwell = fleet[0].fault("lying_health"), fleet[0].fault("lying_health", says="unwell")
        await unwell.settled()
        assert [await status(session, "GET", path) for path in ("/health", "/any")] == [503, 500]
        unwell.remove()
        await unwell.settled()
        assert [await status(session, "GET", path) for path in ("/health", "/any")] == [200, 500]
        well.remove()
        await well.settled()
        assert await status(session, "GET", "/any") == 200


async def test_a_renewed_fleet_is_neither_slow_nor_lying() -> None:
    async with Fleet(1, profile=SLOW) as fleet:
        fleet.fault("brown_out", factor=1e6)
        fleet.fault("lying_health")
        await fleet.renew()
        async with Peer(fleet[0].port) as peer:
            assert (await said(peer, chat())).startswith(b"HTTP/1.1 200 OK\r\n")
        assert [each.faults for each in fleet.ledger.request_records()] == [()]


@pytest.mark.parametrize("fault", ["brown_out", "lying_health"])
async def test_no_request_can_ask_for_what_holds_for_the_process(fault: str) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, Peer(fleet[0].port) as peer:
        refused = await said(peer, post("/", f"x-fleet-fault: {fault}"))
        assert refused.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        expected = f"X-Fleet-Fault: fault '{fault}' strikes at process: no request can ask for it\n"
        assert refused.endswith(expected.encode())


# An engine that is dead, or asleep. Requests are under way when it happens: what runs takes an hour to its next token.

HOURLY = Profile(ttft=0.0, itl=3600, output_tokens=3)
DEAD = (
    b'{"error":{"message":"The server had an error while processing your request.","type":"InternalServerError",'
    b'"param":null,"code":500}}'
)
PAUSED = (
    b'{"error":{"message":"Generation is paused. Please retry after it resumes.","type":"ServiceUnavailableError",'
    b'"param":null,"code":503}}'
)


def chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


async def under_way(peer: Peer, path: str = "/v1/chat/completions", **words: Any) -> None:
    """A stream that has said its first token."""
    body = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "stream": True, **words}
    await peer.send(post(path, JSON, body=json.dumps(body).encode()))
    await peer.until(b'":"')
    while not peer.is_quiet():
        await peer.some()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/generate"])
async def test_a_stream_gets_vllms_error_event_when_its_engine_dies_and_its_connection_is_kept(path: str) -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer:
        await under_way(peer, path)
        async with fleet[0].fault("engine_death") as rule:
            assert await peer.until(b"0\r\n\r\n") == (
                chunk(b"data: %b\n\n" % DEAD) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
            )
            assert await said(peer, get("/health")) == UNWELL
            failed = await said(peer, chat())
            assert failed.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
            assert failed.endswith(DEAD)
            assert b"vary: Origin\r\n" in failed
            assert (rule.armed, rule.fired) == (1, 1)
        assert await said(peer, get("/health")) == HEALTHY
        (connection,) = fleet.ledger.connection_records()
        assert connection.faults == ("engine_death",)
        told = [(each.status, each.outcome, each.faults) for each in fleet.ledger.request_records()]
        assert told[:3] == [
            (200, "complete", ("engine_death",)),
            (503, "complete", ("engine_death",)),
            (500, "complete", ("engine_death",)),
        ]
        assert told[3][2] == ()


async def test_a_unary_request_under_way_gets_the_500_when_its_engine_dies() -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(chat())
        await fleet.ledger.wait_for(in_flight=1)
        async with fleet[0].fault("engine_death"):
            assert (await peer.response()).endswith(DEAD)


async def test_what_needs_no_engine_is_answered_by_one_that_is_dead() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer, fleet[0].fault("engine_death"):
        assert (await said(peer, get("/version"))).endswith(b'{"version":"0.33.0"}')
        assert (await said(peer, chat(model="unknown"))).startswith(b"HTTP/1.1 404 Not Found\r\n")


async def test_the_watchdog_ends_the_server_whose_engine_is_dead() -> None:
    async with Fleet(1) as fleet, Peer(fleet[0].port) as idle:
        await said(idle, get("/health"))
        async with fleet[0].fault("engine_death", exits=0.01):
            assert await idle.to_the_end() == b""
            await fleet.ledger.wait_for(open_now=0)
            with pytest.raises(ConnectionRefusedError):
                await Peer(fleet[0].port).__aenter__()
            states = [fleet[0].state]
        assert [*states, fleet[0].state] == [ServerState.DOWN, ServerState.SERVING]
        async with Peer(fleet[0].port) as again:
            assert await said(again, get("/health")) == HEALTHY


async def test_a_death_may_be_survived_for_ever() -> None:
    fault = parse_fault("engine_death;exits=none")
    assert fault.written() == "engine_death;exits=none"
    assert parse_fault("engine_death").written() == "engine_death"
    async with Fleet(1) as fleet, Peer(fleet[0].port) as peer, fleet[0].fault(fault):
        assert await said(peer, get("/health")) == UNWELL


async def test_aiohttp_reads_the_error_of_a_dead_engine_in_a_whole_stream() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with (
        Fleet(1, profile=HOURLY) as fleet,
        aiohttp.ClientSession(fleet[0].url) as session,
        session.post("/v1/chat/completions", json=body) as response,
    ):
        async for line in response.content:
            if b'"content":"' in line and b'""' not in line:
                break
        async with fleet[0].fault("engine_death"):
            assert (await response.read()).endswith(b"data: %b\n\ndata: [DONE]\n\n" % DEAD)
            assert response.status == 200
            assert await status(session, "GET", "/health") == 503


@pytest.mark.parametrize(
    ("fault", "health", "other"), [("engine_death", 503, 500), ("sleep", 200, 503)], ids=["dead", "asleep"]
)
async def test_an_answer_of_ones_own_has_no_engine_and_is_halted_all_the_same(
    fault: str, health: int, other: int
) -> None:
    async with Fleet(1, answer=lambda index: hello) as fleet, aiohttp.ClientSession(fleet[0].url) as session:
        async with fleet[0].fault(fault):
            assert [await status(session, "GET", path) for path in ("/health", "/any")] == [health, other]
        assert [await status(session, "GET", path) for path in ("/health", "/any")] == [200, 200]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/generate"])
async def test_putting_it_to_sleep_aborts_what_runs_and_refuses_what_comes(path: str) -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer:
        await under_way(peer, path)
        async with fleet[0].fault("sleep"):
            last = await peer.until(b"0\r\n\r\n")
            assert last.count(b'"finish_reason":"abort"') == 1
            assert last.endswith(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
            refused = await said(peer, chat())
            assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert refused.endswith(PAUSED)
            assert await said(peer, get("/health")) == HEALTHY


async def test_a_unary_answer_that_is_aborted_has_what_was_said_by_then() -> None:
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(chat())
        await fleet.ledger.wait_for(in_flight=1)
        async with fleet[0].fault("sleep"):
            answer = json.loads((await peer.response()).partition(b"\r\n\r\n")[2])
    assert answer["choices"][0]["finish_reason"] == "abort"
    assert answer["usage"]["completion_tokens"] == 1
    assert answer["choices"][0]["message"]["content"]


async def test_a_plain_agents_answer_that_is_aborted_says_so() -> None:
    """Or nobody could tell it from a whole one."""
    asked = post("/generate", JSON, body=b'{"prompt":"hi"}')
    async with Fleet(1, profile=HOURLY) as fleet, Peer(fleet[0].port) as peer:
        await peer.send(asked)
        await fleet.ledger.wait_for(in_flight=1)
        async with fleet[0].fault("sleep"):
            aborted = json.loads((await peer.response()).partition(b"\r\n\r\n")[2])
    assert aborted["finish_reason"] == "abort"
    assert aborted["response"]


async def test_aiohttp_gets_a_503_from_a_server_asleep() -> None:
    async with (
        Fleet(1) as fleet,
        aiohttp.ClientSession(fleet[0].url) as session,
        fleet[0].fault("sleep"),
        session.post("/v1/completions", json={"prompt": "hi"}) as response,
    ):
        assert (response.status, await response.read()) == (503, PAUSED)


async def test_who_is_asleep_by_a_fault_is_woken_only_by_its_end() -> None:
    async with Fleet(1, profile=Profile(server_dev_mode=True)) as fleet, Peer(fleet[0].port) as peer:
        async with fleet[0].fault("sleep"):
            assert (await said(peer, post("/wake_up"))).endswith(b'{"status":"awake","tags":null}')
            assert (await said(peer, get("/is_sleeping"))).endswith(b'{"is_sleeping":true}')
        assert (await said(peer, get("/is_sleeping"))).endswith(b'{"is_sleeping":false}')
