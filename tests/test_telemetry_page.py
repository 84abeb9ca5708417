"""What docs/telemetry.md says can be done as it says, and the metrics that it lists are those there are."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="needs prometheus-client, of the dependency group `test`")

from telling import Told

from fleetsim import Fleet
from swarmpool import VLLMPool

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "telemetry.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_each_example_runs(example: str) -> None:
    names: dict[str, object] = {}
    exec(compile(example, "docs/telemetry.md", "exec"), names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    assert inspect.iscoroutinefunction(test)
    await test()


async def test_the_page_lists_the_metrics_there_are() -> None:
    listed: set[str] = set()
    for row in re.findall(r"^\| (`[a-z].*?) \|", PAGE, re.MULTILINE):
        first, *others = re.findall(r"`(.+?)`", row)
        listed |= {first, *(first.rpartition(".")[0] + other for other in others)}
    told = Told()
    async with Fleet(1) as fleet, VLLMPool(fleet.endpoints, "sim", 5) as pool:
        told.instrument(pool)
        await pool.stream(0, "hi")
    assert listed == set(told.metrics())
