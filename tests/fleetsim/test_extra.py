from __future__ import annotations

from importlib.metadata import requires

import pytest

from fleetsim.extra import missing_extra


@pytest.mark.parametrize("name", ["msgspec", "rich.console"])
def test_a_missing_module_of_the_extra_says_what_to_install(name: str) -> None:
    package = name.partition(".")[0]
    error = ModuleNotFoundError(f"No module named {name!r}", name=name)
    assert missing_extra(error) == f"fleetsim needs {package}: pip install 'swarmpool[fleet]'"


def test_what_dask_needs_is_an_extra_of_its_own() -> None:
    error = ModuleNotFoundError("No module named 'distributed'", name="distributed")
    assert missing_extra(error) == "fleetsim needs distributed: pip install 'swarmpool[fleet,dask]'"


@pytest.mark.parametrize("name", ["aiohttp", "fleetsim.cli", None])
def test_other_missing_modules_are_another_matter(name: str | None) -> None:
    assert missing_extra(ModuleNotFoundError("gone", name=name)) is None


def test_every_package_of_the_extra_is_known() -> None:
    imported_as = {"pyyaml": "yaml", "prometheus-client": "prometheus_client"}
    lines = [line for line in requires("swarmpool") or () if "extra == 'fleet'" in line]
    packages = [line.partition(">=")[0].strip().lower() for line in lines]
    assert len(packages) == 7
    for package in packages:
        assert missing_extra(ModuleNotFoundError("gone", name=imported_as.get(package, package)))
