"""What docs/connection-pool.md says can be done as it says, and its table has every option."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path

import pytest

from fleetsim import Fleet
from swarmpool import ConnectionPool, VLLMPool, WebSocketPool

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "connection-pool.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_each_example_runs(example: str) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        names: dict[str, object] = {
            "asyncio": asyncio,
            "ConnectionPool": ConnectionPool,
            "Fleet": Fleet,
            "VLLMPool": VLLMPool,
            "WebSocketPool": WebSocketPool,
            "port": server.sockets[0].getsockname()[1],
        }
        exec(compile(example, "docs/connection-pool.md", "exec"), names)
        [test] = [value for name, value in names.items() if name.startswith("test_")]
        assert inspect.iscoroutinefunction(test)
        await test()


def test_the_table_has_every_option_with_its_default() -> None:
    table = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", PAGE, re.MULTILINE))
    parameters = list(inspect.signature(ConnectionPool.__init__).parameters.values())[1:]
    assert table == {parameter.name: str(parameter.default) for parameter in parameters}
