"""pytest never imports locust: it would move asyncio onto gevent's selector, for every test that comes after."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "loadtests"
OF_LOCUST = {"bridge", "conductor", "fleet_tab", "locustfile"}
PURE = sorted({path.stem for path in FOLDER.glob("[a-z]*.py")} - OF_LOCUST)


def imported(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text("utf-8")))
    return {
        name.split(".")[0]
        for node in tree
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }


def test_only_the_modules_for_locust_import_it() -> None:
    guilty = {path.stem for path in FOLDER.rglob("*.py") if imported(path) & {"locust", "gevent", "flask"}}
    assert guilty == OF_LOCUST


def test_importing_all_the_others_loads_neither_locust_nor_gevent() -> None:
    assert len(PURE) > 8
    imports = "".join(f"import loadtests.{name}\n" for name in PURE)
    code = f"import sys\n{imports}print({{'locust', 'gevent'}} & set(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("set()\n", "")


@pytest.mark.parametrize("name", PURE)
def test_each_of_the_others_has_a_test_module(name: str) -> None:
    assert (Path(__file__).parent / f"test_{name}.py").exists()
