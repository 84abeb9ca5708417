"""What docs/sockets.md says can be done as it says."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from fleetsim import Fleet
from fleetsim.wire.unix import LONGEST
from swarmpool import VLLMPool

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "sockets.md").read_text(encoding="utf-8")
EXAMPLES: list[str] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket, which pytest's own need not be."""
    with TemporaryDirectory(prefix="fleet-") as path:
        yield Path(path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.partition("(")[0].removeprefix("async def "))
async def test_each_example_runs(example: str, folder: Path) -> None:
    names: dict[str, Any] = {"Fleet": Fleet, "VLLMPool": VLLMPool, "aiohttp": aiohttp}
    exec(compile(example, "docs/sockets.md", "exec"), names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    await test(**{"folder": folder} if "folder" in inspect.signature(test).parameters else {})


def test_the_longest_path_is_the_one_that_is_told() -> None:
    assert f"{LONGEST} " in PAGE or f"({LONGEST} " in PAGE
