"""A fleet and its client on real loopback sockets and in a simulation, where both must tell the same.

The client tells answers, exceptions with errno and causes, and its connector's counts; the fleet's ledger tells each
connection, request and websocket with its end. Times and ports are left out, and so is the order between actors. After
each request both worlds are given time to become quiet, for what two writes become on their way is a matter of timing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import re
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import zip_longest
from typing import Any

import aiohttp
from differential import Stage

import simkernel
from fleetsim import Fault, Fleet
from fleetsim.certificates import Authority
from fleetsim.faults.kinds import Standing
from fleetsim.faults.told import Ends
from fleetsim.ledger import Ledger
from fleetsim.records import ConnectionRecord, RequestRecord, WebSocketRecord

__all__ = [
    "GET",
    "STREAM",
    "UNARY",
    "UPLOAD",
    "Asked",
    "FleetScenario",
    "FleetStage",
    "assert_same",
    "causes",
    "differences",
    "may_last",
    "settle",
    "striking",
    "trusting",
    "undated",
    "variants",
]

Line = ConnectionRecord | RequestRecord | WebSocketRecord

_POLLS, _POLL = 6, 0.002
_MANY = 100  # seeds
_LATENCY = 0.0001  # seconds: all is quiet many times sooner than `settle` returns
_DATES = re.compile(r"(?<=\"created\":)\d+|\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT")


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What the client asks for."""

    name: str
    method: str = "POST"
    path: str = "/v1/chat/completions"
    body: bytes = b""

    def __str__(self) -> str:
        return self.name


def _chat(**more: object) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, **more}).encode()


GET = Asked("get", "GET", "/v1/models")
UNARY = Asked("unary", body=_chat())
STREAM = Asked("stream", body=_chat(stream=True))
UPLOAD = Asked("upload", body=b" " * (4 << 20) + _chat())


class FleetStage(Stage):
    """A stage on which fleets play."""

    async def ask(self, session: aiohttp.ClientSession, fleet: Fleet, asked: Asked, *, gives_up: bool = False) -> None:
        """Ask the first server, tell how it went, and let what follows from it follow.

        Who `gives_up` does so when all is quiet: a limit in seconds would be another one on a machine that is busy.
        """
        asking = asyncio.create_task(self._ask(session, fleet, asked))
        if gives_up:
            await settle()
            asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled():
            asking.result()
        await settle()

    async def _ask(self, session: aiohttp.ClientSession, fleet: Fleet, asked: Asked) -> None:
        url, body = f"{fleet[0].url}{asked.path}", bytearray()
        headers = {"Content-Type": "application/json"} if asked.body else {}
        data = io.BytesIO(asked.body) if asked.body else None
        try:
            async with session.request(asked.method, url, data=data, headers=headers) as response:
                self.tell("head", response.status, _headers(response))
                async for piece in response.content.iter_any():
                    body += piece
                self.tell("body", _sum_of(body))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.tell("raised", causes(error, fleet[0].port), _sum_of(body))
        except asyncio.CancelledError:
            self.tell("gave up", _sum_of(body))
            raise

    @asynccontextmanager
    async def struck(self, fleet: Fleet, fault: Fault) -> AsyncIterator[None]:
        """The fault holds for the first server inside the context."""
        async with fleet[0].fault(fault):
            if isinstance(fault, Standing):
                await settle()
            yield
        if isinstance(fault, Standing):
            await settle()

    def tell_ledger(self, ledger: Ledger) -> None:
        """Tell each of its lines, and its figures."""
        for line in ledger.journal():
            self.tell(_told(line), by="ledger's connections" if isinstance(line, ConnectionRecord) else "ledger")
        self.tell(ledger.snapshot(), by="ledger")


def _headers(response: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers.items() if name.lower() != "date"]


def _sum_of(body: bytearray) -> tuple[int, int]:
    text = undated(body.decode("latin-1"))
    return len(text), zlib.crc32(text.encode())


def _told(line: Line) -> dict[str, object]:
    told = {field.name: getattr(line, field.name) for field in dataclasses.fields(line)}
    return {name: value for name, value in told.items() if name != "peer" and not name.endswith("_at")}


def causes(error: BaseException | None, port: int) -> list[str]:
    """The class, errno and sentence of an exception and of each of its causes."""
    told = []
    while error is not None:
        said = re.sub(rf"(127\.0\.0\.1'?(?::|, )){port}", r"\1PORT", undated(str(error)))
        told.append(f"{type(error).__name__} {getattr(error, 'errno', None)} {said}")
        error = error.__cause__
    return told


def undated(text: str) -> str:
    """The text without its dates: a simulation has one of its own."""
    return _DATES.sub("DATE", text)


async def settle() -> None:
    """Return when what was under way has arrived, and what follows from that: after many turns of the loop, and a time
    far above the latency."""
    for _ in range(_POLLS):
        await asyncio.sleep(_POLL)


def variants(kind: type[Fault]) -> list[Fault]:
    """The fault, once for each word of a parameter that takes words; its times are short."""
    fields = [field for field in dataclasses.fields(kind) if isinstance(field.default, str)]
    made = [shortened(kind)]
    for field in fields:
        words = [word for word in field.metadata["unit"].split(" or ") if word != field.default]
        made += [dataclasses.replace(made[0], **{field.name: word}) for word in words]
    return made


def shortened(kind: type[Fault]) -> Fault:
    """The fault, with a millisecond wherever it takes some time, or, where it never ends, an hour; what it sends in
    small pieces is sent in larger ones."""
    seconds = 3600.0 if kind.told.ends is Ends.NEVER else 0.001
    values: dict[str, object] = {}
    for field in dataclasses.fields(kind):
        if field.metadata["unit"].startswith("duration") and field.default is not None:
            values[field.name] = seconds
        elif field.name == "size" and field.default == 1:
            values[field.name] = 50
    return kind(**values)


def may_last(fault: Fault) -> bool:
    """Whether what a client asked may never be answered."""
    ends = {told.ends for told in (fault.told, fault.told_of_stream) if told is not None}
    return bool(ends & {Ends.NEVER, Ends.EITHER})


FleetScenario = Callable[[FleetStage], Awaitable[None]]
Accounts = dict[str, list[Any]]


def striking(fault: Fault, asked: Asked, tls: Authority | None = None) -> FleetScenario:
    """The fault strikes a connection that has been used, and another from its beginning."""

    async def strike(stage: FleetStage) -> None:
        lasts = may_last(fault)
        async with Fleet(1, keepalive_timeout=60, tls=tls) as fleet:
            for is_used in (True, False):
                async with stage.session(**trusting(tls)) as session:
                    if is_used:
                        await stage.ask(session, fleet, asked)
                    async with stage.struck(fleet, fault):
                        await stage.ask(session, fleet, asked, gives_up=lasts)
                        await stage.ask(session, fleet, asked, gives_up=lasts)
                    await stage.ask(session, fleet, asked)
                    stage.tell_counts()
                await settle()
        stage.tell_ledger(fleet.ledger)

    return strike


def trusting(authority: Authority | None) -> dict[str, ssl.SSLContext]:
    """What a connector is to be given to trust a fleet of this authority."""
    return {} if authority is None else {"ssl": authority.client()}


async def play(scenario: FleetScenario) -> Accounts:
    """Play it in the running loop, and return the accounts of all actors."""
    stage = FleetStage()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stage.tell(context["message"], by="unhandled"))
    async with stage.stack:
        await scenario(stage)
    await settle()
    stage.tell(sorted(task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}), by="tasks left")
    return stage.accounts


def assert_same(scenario: FleetScenario, *, races: bool = False, with_latency: bool = True) -> None:
    """Play it on real sockets and in simulations, and assert that all of them tell the same.

    A simulation without latency is a loopback: it tells just the same. With latency, what is under way when a client
    ends a connection is a matter of timing, and so is whether the server sees a FIN or an RST of it. Not
    `with_latency`: so is what a client sees. Where a scenario `races` even without, what happened on loopback is among
    what happens in simulations. In none of them anything stays open, and a seed gives the same again. Nothing goes
    unhandled; but old aiohttp's clients that give up while they write leave an exception behind.
    """
    real = asyncio.run(play(scenario))
    _check_unhandled(real)
    assert any(real.values())
    if races:
        tried = [(seed, latency) for seed in range(_MANY) for latency in (0.0, _LATENCY)]
        assert any(_simulated(scenario, seed, latency) == real for seed, latency in tried), real
    else:
        found = differences(real, _simulated(scenario, 1, 0.0))
        assert not found, "\n".join(found)
    if with_latency and not races:
        found = differences(_loosely(real), _loosely(_simulated(scenario, 2, _LATENCY)))
        assert not found, "\n".join(found)
    simkernel.verify(lambda net: play(scenario), seed=3)


def differences(real: Accounts, simulated: Accounts) -> list[str]:
    """One line for each fact that an actor does not tell in both."""
    return [
        f"{actor} {number}: on loopback {ours!r}, simulated {theirs!r}"
        for actor in sorted({*real, *simulated})
        for number, (ours, theirs) in enumerate(zip_longest(real.get(actor, []), simulated.get(actor, [])))
        if ours != theirs
    ]


def _simulated(scenario: FleetScenario, seed: int, latency: float) -> Accounts:
    result = simkernel.run(lambda net: play(scenario), seed=seed, latency=latency)
    assert result.statistics.open_connections == 0
    assert result.value is not None
    _check_unhandled(result.value)
    return result.value


def _check_unhandled(accounts: Accounts) -> None:
    """Take out what nobody handled: it is told whenever garbage is collected."""
    unhandled = accounts.pop("unhandled", None)
    assert unhandled is None or aiohttp.__version__.startswith("3.12."), unhandled


def _loosely(accounts: Accounts) -> Accounts:
    return {actor: [_without_how(facts) for facts in told] for actor, told in accounts.items()}


def _without_how(facts: tuple[Any, ...]) -> tuple[Any, ...]:
    first = facts[0]
    if isinstance(first, dict) and first.get("ended_by") == "client":
        return ({name: value for name, value in first.items() if name != "ended_how"},)
    return facts
