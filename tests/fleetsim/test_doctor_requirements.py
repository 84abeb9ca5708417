from __future__ import annotations

import pytest

from fleetsim.doctor.requirements import Requirement, fits, installed, requirements


@pytest.mark.parametrize(
    ("version", "spec", "fitting"),
    [
        ("3.14.5", ">=3.12.15,!=3.14.0,!=3.14.1,<4", True),
        ("3.12.15", "!=3.14.0,!=3.14.1,<4,>=3.12.15", True),
        ("3.12.14", ">=3.12.15", False),
        ("3.14.0", "!=3.14.0,<4", False),
        ("3.14", "!=3.14.0", False),
        ("4.0", "<4", False),
        ("3.11.7", ">=3.11", True),
        ("3.9.20", ">=3.11", False),
        ("40.0.dev1", ">=37", True),
        ("1.2.3", "~=1.2", True),
        ("2.0", "~=1.2", False),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, spec: str, fitting: bool) -> None:
    assert fits(version, spec) is fitting


def test_the_distribution_says_what_it_needs_and_for_which_extra() -> None:
    found = {requirement.name: requirement for requirement in requirements()}
    assert found["aiohttp"].extra is None
    assert fits("3.14.5", found["aiohttp"].spec)
    assert not fits("3.14.1", found["aiohttp"].spec)
    assert found["click"] == Requirement("click", ">=8.1.8", "fleet")


def test_what_is_installed_has_a_version() -> None:
    version = installed("aiohttp")
    assert version is not None
    assert fits(version, ">=3.12")
    assert installed("no-such-package-anywhere") is None
