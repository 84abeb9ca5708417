from __future__ import annotations

import subprocess
import sys

import pytest

from fleetsim.__main__ import main


@pytest.mark.parametrize("missing", ["click", "msgspec", "rich", "yaml"])
def test_a_missing_package_of_the_extra_is_one_line_and_exit_code_2(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; from fleetsim.__main__ import main; "
        "sys.exit(main(['up', '1', '--profile', 'no.yaml']))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == f"fleetsim needs {missing}: pip install 'swarmpool[fleet]'\n"


def test_a_fault_of_our_own_is_not_taken_for_a_missing_extra() -> None:
    code = (
        "import sys; sys.modules['fleetsim.cli'] = None; from fleetsim.__main__ import main; "
        "sys.exit(main(['up', '1']))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 1
    assert "ModuleNotFoundError" in said.stderr


def test_the_exit_code_is_returned(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fleetsim, version ")
