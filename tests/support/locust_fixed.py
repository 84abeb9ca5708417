"""A locustfile whose user asks so many times and no more, so that the total is the same however users are spread."""

from __future__ import annotations

import os
from typing import Any

import gevent

from loadtests.locustfile import Course, ScenarioUser
from loadtests.scenarios import Scenario, unary
from swarmpool import Response

__all__ = ["Course", "FixedUser"]

_EACH = int(os.environ["RUNS_OF_EACH_USER"])


class FixedUser(ScenarioUser):
    scenario, make = "unary", staticmethod(unary)

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._left = _EACH

    def do(self, name: str, run: Scenario) -> list[Response]:
        if not self._left:
            gevent.sleep(0.05)
            return []
        self._left -= 1
        return super().do(name, run)
