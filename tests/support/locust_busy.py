"""A locustfile whose user is nearly always at work in the bridge's loop, for a signal to come upon it there."""

from __future__ import annotations

import time

from loadtests.figures import Figures
from loadtests.locustfile import Course, ScenarioUser
from loadtests.scenarios import Scenario
from loadtests.traffic import Traffic
from swarmpool import Response, VLLMPool

__all__ = ["BusyUser", "Course"]


def busy(_traffic: Traffic, _figures: Figures) -> Scenario:
    async def run(pool: VLLMPool) -> Response:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            pass
        return await pool.post(0, "hi")

    return run


class BusyUser(ScenarioUser):
    scenario, make = "busy", staticmethod(busy)
