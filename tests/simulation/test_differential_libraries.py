"""Other people's clients see of a fleet in a simulation what they see of it on real loopback sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from differential_fleet import FleetScenario, FleetStage, assert_same, causes, settle, undated

from fleetsim import Fleet

FAULTS = [
    None,
    "close",
    "idle_fin;seconds=1ms",
    "stale",
    "stale;how=rst",
    "truncated",
    "before_head",
    "before_head_rst",
    "refuse",
    "unavailable",
    "kill",
]
FAULTS_OF_WEBSOCKETS = [
    None,
    "refuse_upgrade",
    "session_deadline;seconds=1ms",
    "websocket_fin;seconds=1ms",
    "fragmented_message",
    "oversized_message",
]
_MESSAGES = [{"role": "user", "content": "hello"}]

Work = Callable[[FleetStage, Fleet], Awaitable[None]]


def struck(fault: str | None, work: Work) -> FleetScenario:
    """Two rounds of the same work, the first of them while the fault strikes."""

    async def scenario(stage: FleetStage) -> None:
        async with Fleet(1, keepalive_timeout=60) as fleet:
            await work(stage, fleet) if fault is None else await struck_once(stage, fleet, fault)
            await work(stage, fleet)
            await settle()
        stage.tell_ledger(fleet.ledger)

    async def struck_once(stage: FleetStage, fleet: Fleet, fault: str) -> None:
        async with fleet[0].fault(fault):
            await settle()
            await work(stage, fleet)
        await settle()

    return scenario


def no_certificates() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # those of the system take long to load


async def told(stage: FleetStage, fleet: Fleet, asked: Awaitable[Any], expected: type[Exception]) -> None:
    """Tell what it comes to."""
    try:
        stage.tell("answered", undated(str(await asked)))
    except expected as error:
        stage.tell("raised", causes(error, fleet[0].port))
    await settle()


@pytest.mark.parametrize("fault", FAULTS)
def test_httpx_sees_in_a_simulation_what_it_sees_on_loopback(fault: str | None) -> None:
    httpx = pytest.importorskip("httpx")

    async def work(stage: FleetStage, fleet: Fleet) -> None:
        async def streamed() -> list[str]:
            asked = {"messages": _MESSAGES, "max_tokens": 4, "stream": True}
            async with client.stream("POST", f"{fleet.base_urls[0]}/chat/completions", json=asked) as response:
                return [line async for line in response.aiter_lines()]

        async def asked(method: str, path: str, **options: Any) -> str:
            response = await client.request(method, f"{fleet.base_urls[0]}{path}", **options)
            return f"{response.status_code} {response.text}"

        body = {"messages": _MESSAGES, "max_tokens": 4}
        async with httpx.AsyncClient(trust_env=False, verify=no_certificates()) as client:
            for _ in range(2):
                await told(stage, fleet, asked("GET", "/models"), httpx.HTTPError)
                await told(stage, fleet, asked("POST", "/chat/completions", json=body), httpx.HTTPError)
            await told(stage, fleet, streamed(), httpx.HTTPError)
            await settle()  # it leaves the closing of its generators to the loop

    assert_same(struck(fault, work))


@asynccontextmanager
async def openai_client(fleet: Fleet, *, max_retries: int) -> AsyncIterator[Any]:
    openai, httpx2 = pytest.importorskip("openai"), pytest.importorskip("httpx2")
    async with httpx2.AsyncClient(trust_env=False, verify=no_certificates()) as http:
        yield openai.AsyncOpenAI(
            api_key="none", base_url=fleet.base_urls[0], http_client=http, max_retries=max_retries, timeout=30.0
        )
        await settle()


async def words(asked: Awaitable[Any]) -> list[Any]:
    """What the model says, chunk by chunk."""
    return [chunk.choices[0].delta.content async for chunk in await asked]


async def message(asked: Awaitable[Any]) -> Any:
    return (await asked).choices[0].message.content


async def ask_openai(stage: FleetStage, fleet: Fleet, *, max_retries: int) -> None:
    from openai import OpenAIError

    async with openai_client(fleet, max_retries=max_retries) as client:
        create = client.chat.completions.create
        for _ in range(4):
            await told(stage, fleet, message(create(model="sim", messages=_MESSAGES, max_tokens=4)), OpenAIError)
        stream = create(model="sim", messages=_MESSAGES, max_tokens=50, stream=True)
        await told(stage, fleet, words(stream), OpenAIError)


@pytest.mark.parametrize("fault", FAULTS)
def test_openai_sees_in_a_simulation_what_it_sees_on_loopback(fault: str | None) -> None:
    pytest.importorskip("openai")

    async def work(stage: FleetStage, fleet: Fleet) -> None:
        await ask_openai(stage, fleet, max_retries=0)

    assert_same(struck(fault, work))


@pytest.mark.parametrize("fault", ["before_head_rst", "unavailable"])
def test_openai_asks_once_more_in_a_simulation_as_on_loopback(fault: str) -> None:
    pytest.importorskip("openai")

    async def scenario(stage: FleetStage) -> None:
        async with Fleet(1, keepalive_timeout=60) as fleet:
            with fleet[0].fault(fault, times=1):
                await ask_openai(stage, fleet, max_retries=2)
            await settle()
            stage.tell(fleet.ledger.opened, fleet.ledger.requests)
        stage.tell_ledger(fleet.ledger)

    assert_same(scenario)


@pytest.mark.parametrize("fault", FAULTS_OF_WEBSOCKETS)
def test_websockets_sees_in_a_simulation_what_it_sees_on_loopback(fault: str | None) -> None:
    client = pytest.importorskip("websockets.asyncio.client")
    exceptions = pytest.importorskip("websockets.exceptions")

    async def talk(fleet: Fleet) -> list[Any]:
        heard: list[Any] = []
        async with client.connect(f"ws://127.0.0.1:{fleet[0].port}/echo", proxy=None, close_timeout=0.05) as ws:
            await settle()
            for line in ("hello", b"\x00\x01", "x" * 100_000):
                await ws.send(line)
                answer = await ws.recv()
                heard.append(len(answer))
            await (await ws.ping())
        return [*heard, ws.close_code, ws.close_reason]

    async def work(stage: FleetStage, fleet: Fleet) -> None:
        await told(stage, fleet, talk(fleet), exceptions.WebSocketException)

    assert_same(struck(fault, work))


def test_requests_of_httpx_at_once_take_as_many_connections_as_on_loopback() -> None:
    httpx = pytest.importorskip("httpx")

    async def scenario(stage: FleetStage) -> None:
        async with Fleet(1, keepalive_timeout=60) as fleet:
            async with httpx.AsyncClient(trust_env=False, verify=no_certificates()) as client:
                for _ in range(2):
                    asked = [client.get(f"{fleet.base_urls[0]}/models") for _ in range(4)]
                    stage.tell([response.status_code for response in await asyncio.gather(*asked)])
                    await settle()
            await settle()
            stage.tell(fleet.ledger.opened, fleet.ledger.reused)

    assert_same(scenario)
