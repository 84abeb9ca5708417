from __future__ import annotations

import pytest

from fleetsim.extra import remedy


@pytest.mark.parametrize("name", ["msgspec", "yaml.loader", "prometheus_client"])
def test_a_module_of_the_extra_is_named_with_what_to_install(name: str) -> None:
    package = name.partition(".")[0]
    assert remedy(ModuleNotFoundError("no", name=name)) == f"{package}: pip install 'swarmpool[fleet]'"


@pytest.mark.parametrize("name", ["aiohttp", "msgspecs", None])
def test_any_other_module_is_somebody_elses_affair(name: str | None) -> None:
    assert remedy(ModuleNotFoundError("no", name=name)) is None
