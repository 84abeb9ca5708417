"""What docs/simkernel.md says can be done as it says, and its table is the settings there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

import simkernel
import simkernel.testing.telling  # or each inner run would import a kernel of its own

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "simkernel.md").read_text(encoding="utf-8")
EXAMPLES: list[str] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PLAIN = [example for example in EXAMPLES if "@pytest" not in example]
BANK, ECHO = (example for example in EXAMPLES if "@pytest" in example)
REPORTS: list[str] = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
OPTIONS = ("-p", "no:randomly", "-p", "no:asyncio")


@pytest.mark.parametrize("example", PLAIN)
def test_each_example_runs(example: str) -> None:
    names: dict[str, object] = {}
    exec(compile(example, "docs/simkernel.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_") and callable(value)]
    assert tests
    for test in tests:
        test()


def test_the_failure_is_told_as_the_page_shows(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_bank=BANK)
    told = pytester.runpytest_inprocess(*OPTIONS, "-k", "0-49")
    told.assert_outcomes(failed=1)
    (report,) = REPORTS
    told.stdout.fnmatch_lines([f"*{re.sub(' +', '*', line)}*" for line in report.splitlines()])


def test_the_example_of_a_simulated_fixture_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_echo=ECHO)
    pytester.runpytest_inprocess(*OPTIONS).assert_outcomes(passed=1)


def test_the_table_tells_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", PAGE, re.MULTILINE)
    told = {
        name.strip("` "): value
        for names, values in rows
        for name, value in zip(names.split(","), values.split(","), strict=True)
    }
    expected = {field.name: field.default for field in fields(simkernel.Settings)}
    assert {name: float(value) if value[-1].isdigit() else eval(value) for name, value in told.items()} == expected


def test_every_fault_is_told() -> None:
    net = simkernel.Net
    faults = [name for name in vars(net) if not name.startswith("_")]
    assert len(faults) == 12
    assert [name for name in faults if f"`{name}`" not in PAGE and f"net.{name}" not in PAGE] == []
