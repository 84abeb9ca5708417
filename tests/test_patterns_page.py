"""What docs/patterns.md says can be done as it says, and its table has every pattern with its arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import swarmpool.patterns
from fleetsim import Fleet
from swarmpool import VLLMPool
from swarmpool.patterns import Blackboard

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "patterns.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| `([\w.]+\(.*?\))` \|", PAGE, re.MULTILINE)


@pytest.fixture
async def fleet_and_pool() -> AsyncIterator[tuple[Fleet, VLLMPool]]:
    async with (
        Fleet(4, seed=1, tags=lambda index: {"role": "ideas" if index % 2 else "doubts"}) as fleet,
        VLLMPool(fleet.endpoints, "sim", 5) as pool,
    ):
        yield fleet, pool


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_each_example_runs(example: str, fleet_and_pool: tuple[Fleet, VLLMPool]) -> None:
    names: dict[str, object] = {}
    exec(compile(example, "docs/patterns.md", "exec"), names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    assert inspect.iscoroutinefunction(test)
    given = dict(zip(("fleet", "pool"), fleet_and_pool, strict=True))
    await test(**{name: given[name] for name in inspect.signature(test).parameters})


def positional(function: object, *, without: int = 0) -> str:
    """The arguments that may be given by position, with their defaults."""
    assert callable(function)
    parameters = list(inspect.signature(function).parameters.values())[without:]
    taken = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    return ", ".join(one.name if one.default is one.empty else f"{one.name}={one.default!r}" for one in taken)


@pytest.mark.parametrize("row", [row for row in ROWS if "Blackboard" not in row])
def test_the_table_has_the_arguments_of_each_pattern(row: str) -> None:
    name, _, arguments = row.removesuffix(")").partition("(")
    assert arguments == positional(getattr(swarmpool.patterns, name))


def test_the_table_has_every_pattern() -> None:
    board = f"Blackboard({positional(Blackboard)}).run({positional(Blackboard.run, without=1)})"
    assert board in ROWS
    patterns = {name for name in swarmpool.patterns.__all__ if name.islower()} - {"run_stages"}
    assert {row.partition("(")[0] for row in ROWS} == {*patterns, "Blackboard"}
