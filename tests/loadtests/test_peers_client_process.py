from __future__ import annotations

import asyncio
from collections.abc import Sequence

from loadtests.bench.peers.ask import CONCURRENT, Failed
from loadtests.bench.peers.client_process import Asking


class Fake:
    """A client that notes whom it asks, and fails where it is told to."""

    def __init__(self, *, made_once: bool = False, fails_at: int | None = None) -> None:
        self.made_once, self._fails_at = made_once, fails_at
        self.asked: list[int] = []
        self.most = self._now = 0

    async def open(self, urls: Sequence[str]) -> None: ...

    async def ask(self, agent: int, text: str) -> str:
        self.asked.append(agent)
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0)
        self._now -= 1
        if agent == self._fails_at:
            raise Failed(f"no {text[:2]}")
        return ""

    async def close(self) -> None: ...


async def opened(fake: Fake, agents: int) -> Asking:
    asking = Asking(fake)
    await asking.open([f"http://127.0.0.1:{number}" for number in range(agents)], requests=0, seconds=60.0)
    return asking


async def test_agents_are_asked_in_turn_and_so_many_at_once() -> None:
    fake = Fake()
    asking = await opened(fake, 3)
    cost = await asking.run(requests=300, seconds=60.0)
    assert fake.asked == [0, 1, 2] * 100
    assert fake.most == CONCURRENT
    assert (cost["requests"], cost["failures"], cost["why"]) == (300, 0, "")


async def test_failures_are_counted_and_the_first_is_told() -> None:
    cost = await (await opened(Fake(fails_at=1), 2)).run(requests=10, seconds=60.0)
    assert (cost["requests"], cost["failures"], cost["why"]) == (10, 5, "no 1:")


async def test_time_bounds_what_requests_do_not() -> None:
    cost = await (await opened(Fake(), 1)).run(requests=10**9, seconds=0.05)
    assert 0 < cost["requests"] < 10**9
    assert cost["seconds"] >= 0.05


async def test_connections_are_counted_from_the_warm_up_on() -> None:
    asking = await opened(Fake(), 1)
    asking.audit("socket.connect", ())
    asking.audit("socket.bind", ())
    assert (await asking.run(requests=1, seconds=60.0))["opened"] == 0
    assert asking.dials == 1


async def test_what_is_moved_to_a_server_was_not_made_there() -> None:
    once, anew = Asking(Fake(made_once=True)), Asking(Fake())
    for asking, last in ((once, None), (anew, float)):
        first = await asking.open(["http://127.0.0.1:1"], requests=1, seconds=60.0)
        second = await asking.open(["http://127.0.0.1:2"], requests=1, seconds=60.0)
        assert isinstance(first["made"], float)
        assert second["made"] is None if last is None else isinstance(second["made"], float)
