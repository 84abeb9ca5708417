"""What every test of the repository shares. Helper modules live in `tests/support`, which is on the path."""

from __future__ import annotations

import pytest
from leak_gate import LeakGate


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(LeakGate(), "leak-gate")
