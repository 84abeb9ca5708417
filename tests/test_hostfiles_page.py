"""What docs/hostfiles.md says can be done as it says, and its table has every dialect."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from swarmpool import AgentEndpoint
from swarmpool.dialects import ITEM_DIALECTS, LINE_DIALECTS
from swarmpool.hostfile_text import hostfile_text

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "hostfiles.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
ROWS = dict(re.findall(r"^\| `(\w+)` \|.*\| *(yes)?[^|]*\|$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_each_example_runs(example: str, tmp_path: Path) -> None:
    names: dict[str, object] = {}
    exec(compile(example, "docs/hostfiles.md", "exec"), names)
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    assert inspect.iscoroutinefunction(test)
    await test(**{"tmp_path": tmp_path} if inspect.signature(test).parameters else {})


def test_the_table_has_every_dialect_and_says_which_are_written() -> None:
    assert list(ROWS) == [*LINE_DIALECTS, *ITEM_DIALECTS]
    for dialect, written in ROWS.items():
        if written:
            assert hostfile_text([AgentEndpoint("node7")], dialect)
        else:
            with pytest.raises(ValueError, match="to be written"):
                hostfile_text([], dialect)
