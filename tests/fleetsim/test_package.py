from __future__ import annotations

import subprocess
import sys

import pytest

import fleetsim


@pytest.mark.parametrize("name", fleetsim.__all__)
def test_every_public_name_is_there_and_at_home_in_a_module_that_says_so(name: str) -> None:
    value = getattr(fleetsim, name)
    home = sys.modules[value.__module__] if value.__module__.startswith("fleetsim") else fleetsim.exchange
    assert name in home.__all__


def test_a_name_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fleetsim' has no attribute 'Flete'"):
        _ = fleetsim.Flete


def test_importing_the_package_imports_nothing_of_the_extra() -> None:
    """So that the command can start without it, and say what to install."""
    script = "import sys, fleetsim; print(sorted({'aiohttp', 'msgspec', 'faker', 'click', 'yaml'} & set(sys.modules)))"
    assert printed_by(script) == "[]"


def test_neither_the_wire_nor_the_ledger_knows_the_pool() -> None:
    script = "import sys, fleetsim.fleet, fleetsim.api; print('swarmpool' in sys.modules)"
    assert printed_by(script) == "False"


def test_without_the_extra_a_name_says_what_to_install() -> None:
    said = printed_by(WITHOUT.format(missing="msgspec"))
    assert said == "fleetsim needs msgspec: pip install 'swarmpool[fleet]'; msgspec; ModuleNotFoundError"


def test_without_anything_else_the_error_is_pythons_own() -> None:
    said = printed_by(WITHOUT.format(missing="aiohttp"))
    assert "aiohttp" in said
    assert "swarmpool[fleet]" not in said
    assert said.endswith("; NoneType")


WITHOUT = """
import sys
sys.modules[{missing!r}] = None
import fleetsim
try:
    fleetsim.Fleet
except ModuleNotFoundError as error:
    print(error, error.name, type(error.__cause__).__name__, sep="; ")
"""


def printed_by(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.strip()
