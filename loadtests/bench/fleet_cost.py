"""What a fake server costs: beside the least that aiohttp can do, and what rules add for requests they are not for.

The first contestant is a bare `web.Server` that reads the body and sends as many bytes, knowing nothing of what they
mean; the second is the fake server itself, with nothing armed. Each serves in this process; the client, whose CPU must
not count, is a child process that plays the same requests.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

from fleetsim import Fleet
from loadtests.bench.measure import Figure, paired_ratio, quiet_gc
from loadtests.bench.servers import bare_server

__all__ = ["fleet_cost", "rules_cost"]

_CONCURRENT = 64
_BODY = json.dumps(
    {"model": "sim", "messages": [{"role": "user", "content": "Tell me about pools. " * 8}], "max_tokens": 64}
).encode()


class _Player(asyncio.Protocol):
    """Sends one request after another on one connection and counts bytes, not meaning: cheap on purpose."""

    def __init__(self, request: bytes, times: int, answer_length: int) -> None:
        self._request = request
        self._left = times
        self._length = answer_length
        self._received = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received < self._length:
            return
        self._received -= self._length
        self._left -= 1
        if self._left:
            self._transport.write(self._request)
        else:
            self._transport.close()
            self.done.set_result(None)


def _request(path: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(_BODY)}\r\n\r\n"
    return head.encode() + _BODY


async def _answer_to_one(port: int, path: str) -> bytes:
    """A whole answer, head and body, as the server sends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_request(path))
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return head + body


async def _play(port: int, path: str, requests: int) -> None:
    length = len(await _answer_to_one(port, path))
    loop = asyncio.get_running_loop()
    each = requests // _CONCURRENT
    players = [
        (await loop.create_connection(lambda: _Player(_request(path), each, length), "127.0.0.1", port))[1]
        for _ in range(_CONCURRENT)
    ]
    await asyncio.gather(*(player.done for player in players))


async def _cpu_of_serving(port: int, path: str, requests: int) -> float:
    """CPU seconds of this process while a child plays `requests` against `port`."""
    with quiet_gc():
        start = time.process_time()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadtests.bench.fleet_cost", str(port), path, str(requests)
        )
        assert await child.wait() == 0
        return time.process_time() - start


async def fleet_cost(rounds: int = 12, requests: int = 6_400) -> list[Figure]:
    """Requests per CPU second of a fake server over those of the bare one."""
    path = "/v1/chat/completions"
    async with Fleet(1, ending="eager") as fleet:
        port = urlsplit(fleet.base_urls[0]).port
        assert port is not None
        _, _, body = (await _answer_to_one(port, path)).partition(b"\r\n\r\n")
        async with bare_server(body) as bare_port:
            pairs = [
                (await _cpu_of_serving(bare_port, path, requests), await _cpu_of_serving(port, path, requests))
                for _ in range(rounds)
            ]
    ratio, low, high = paired_ratio(pairs)
    ours, theirs = (
        sorted(column)[rounds // 2] / requests * 1e6 for column in ([p[1] for p in pairs], [p[0] for p in pairs])
    )
    detail = (
        f"{ours:.0f} us a request against {theirs:.0f} us; quartiles {low:.2f} to {high:.2f}, "
        f"{rounds} pairs of {requests} requests, {len(body)} bytes"
    )
    return [
        Figure("fake server : bare web.Server, requests per CPU second", ratio, "x", ">= 0.75", ratio >= 0.75, detail)
    ]


async def rules_cost(rounds: int = 60, requests: int = 1_920) -> list[Figure]:
    """Requests per CPU second of a fake server with rules that are for other requests, over those of one without."""
    path = "/v1/chat/completions"
    async with Fleet(1, ending="eager") as bare, Fleet(2, ending="eager") as ruled:
        ruled.fault("reset", rate=0.5, where={"route": "/v1/embeddings"})
        ruled.fault("stall", seconds="1s", times=1, where={"route": "/v1/completions"})
        ruled[1].fault("delay")
        ruled[1].script("3x unavailable", "ok")
        pairs = []
        for number in range(rounds):  # who goes first changes: a few per cent are asked about
            cost = {
                fleet: await _cpu_of_serving(fleet[0].port, path, requests)
                for fleet in ((bare, ruled) if number % 2 else (ruled, bare))
            }
            pairs.append((cost[bare], cost[ruled]))
    ratio, low, high = paired_ratio(pairs)
    detail = f"quartiles {low:.3f} to {high:.3f}, {rounds} pairs of {requests} requests"
    name = "requests that no rule is for : without rules, requests per CPU second"
    return [Figure(name, ratio, "x", ">= 0.97", ratio >= 0.97, detail)]


if __name__ == "__main__":
    asyncio.run(_play(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
