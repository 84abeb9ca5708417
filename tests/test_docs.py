"""What docs/pytest.md shows runs as it is shown."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from fleetsim import Fleet

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "pytest.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
async def test_each_python_example_runs(example: str, fleet: Fleet) -> None:
    names: dict[str, object] = {}
    exec(compile(example, "docs/pytest.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        assert inspect.iscoroutinefunction(test)
        await test(fleet)
