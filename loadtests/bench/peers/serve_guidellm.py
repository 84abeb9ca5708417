"""guidellm's mock server, as its own command makes it but for its latency, which is none, and its log.

One mock is one port of one process. Its application is Sanic's, which can be given further sockets: so one process has
as many ports as the others'. Needs guidellm and the standard library, and nothing of ours.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from guidellm.mock_server.server import MockServer
from guidellm.schemas.mock_server import MockServerConfig

__all__ = ["serving"]


@asynccontextmanager
async def serving(agents: int) -> AsyncIterator[list[int]]:
    """`agents` ports of one mock; yields them."""
    mock = MockServer(MockServerConfig(request_latency=0.0, output_tokens=16))
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(agents)]
    servers: list[Any] = []
    for each in sockets:
        each.setblocking(False)
        server = await mock.app.create_server(sock=each, return_asyncio_server=True, access_log=False)
        if not servers:
            await server.startup()  # of the application, which they share
        servers.append(server)
    try:
        yield [each.getsockname()[1] for each in sockets]
    finally:
        for server in servers:
            server.close()
