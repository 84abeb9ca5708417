"""What every test of the repository shares. Helper modules live in `tests/support`, which is on the path."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest
from leak_gate import LeakGate


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it has in the background with SIGINT ignored, and so would be all that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(LeakGate(), "leak-gate")


# Timings never fail a test: on a busy machine an example may take any time. `tox` tries the same examples every time;
# at a desk they are new ones every time.
hypothesis.settings.register_profile("house", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("repeatable", hypothesis.settings.get_profile("house"), derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))
