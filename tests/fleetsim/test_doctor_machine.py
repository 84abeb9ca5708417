from __future__ import annotations

import pytest

from fleetsim.doctor.machine import read_available, read_number, read_ports, read_quota, this_machine


def test_what_the_kernel_writes_is_read() -> None:
    assert read_ports("32768\t60999\n") == (32_768, 60_999)
    assert read_number("4096\n") == 4_096
    assert read_quota("150000 100000\n") == 1.5
    assert read_available("MemTotal:  9 kB\nMemAvailable:   24 kB\n") == 24 * 1024


@pytest.mark.parametrize("text", ["", "max\n", "max 100000\n", "one two\n"])
def test_what_is_no_limit_or_not_there_is_none(text: str) -> None:
    assert (read_ports(text), read_number(text), read_quota(text), read_available(text)) == (None,) * 4


def test_this_machine_can_run_these_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    machine = this_machine()
    assert machine.cores > 0
    assert machine.hard_files is None or machine.hard_files > 0
    assert "HTTP_PROXY" in machine.proxies
    assert machine.python.startswith("3.")
    assert any(requirement.name == "aiohttp" and version for requirement, version in machine.packages.items())
