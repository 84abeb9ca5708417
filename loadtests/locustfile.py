"""Load tests of the pool against a fleet: `locust -f loadtests/locustfile.py --headless -u 50 -t 30s`.

The users are the scenarios of `scenarios.py`; choose some by naming their classes at the end of the command. The load
has the `--shape` that is asked for. See loadtests/README.md.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import time
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events

sys.path.append(str(Path(__file__).resolve().parents[1]))  # locust runs it from anywhere

from loadtests.bridge import PoolUser, side_of, use_pool
from loadtests.conductor import DEFAULT_SECONDS, conduct_begin, conduct_end, conductor_of
from loadtests.fleet_tab import show_tabs
from loadtests.options import Options, add_options
from loadtests.scenarios import Maker, batch, scatter_gather, stream, unary, websocket
from loadtests.traffic import Traffic
from swarmpool import VLLMPool, parse_hostfile

STOP_SECONDS = 5
_USERS_PER_WORKER = 1_000_000
_log = logging.getLogger(__name__)


def add_our_options(parser: Any) -> None:
    add_options(parser, for_locust=True)


def prepare(environment: Any, **_: Any) -> None:
    """Let users finish what they have begun, unless told otherwise: a request cut off may be known to one end only.

    And make the prompts now, not when users start.
    """
    environment.stop_timeout = environment.stop_timeout or STOP_SECONDS
    with contextlib.suppress(ValueError):  # the run will say what is wrong
        Traffic(Options.read(vars(environment.parsed_options)).seed)


def make_pool(environment: Any) -> VLLMPool | None:
    given, side = environment.parsed_options, side_of(environment)
    if not given.fleet_hosts or side is None:
        return None
    agents = parse_hostfile(io.StringIO(given.fleet_hosts))
    return VLLMPool(agents, **Options.read(vars(given)).care, on_event=side.figures.event)


events.init_command_line_parser.add_listener(add_our_options)
events.init.add_listener(prepare)
conduct_begin()
use_pool(make_pool)
conduct_end()
show_tabs()


class ScenarioUser(PoolUser):
    """A user that runs one scenario again and again, pausing as the shape says."""

    abstract = True
    scenario = "?"
    make: Maker

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        options = Options.read(vars(environment.parsed_options))
        self._pause = options.shape.pause
        user = environment.runner.worker_index * _USERS_PER_WORKER + self.number
        self._traffic = Traffic(options.seed, user)
        self._run = type(self).make(self._traffic, self.side.figures)

    def wait_time(self) -> float:
        return self._pause(time.monotonic(), self._traffic.chance)

    def ask(self) -> None:
        self.do(self.scenario, self._run)

    tasks = [ask]  # noqa: RUF012 - locust's own way to say it


class UnaryUser(ScenarioUser):
    scenario, make, weight = "unary", staticmethod(unary), 6


class StreamUser(ScenarioUser):
    scenario, make, weight = "stream", staticmethod(stream), 4


class BatchUser(ScenarioUser):
    scenario, make, weight = "batch", staticmethod(batch), 1


class ScatterGatherUser(ScenarioUser):
    scenario, make, weight = "scatter-gather", staticmethod(scatter_gather), 1


class WebSocketUser(ScenarioUser):
    scenario, make, weight = "websocket", staticmethod(websocket), 1


class Course(LoadTestShape):
    """The shape that `--shape` names, with `-u` users at its peak, for `-t` of time; the spawn rate is its own."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        environment = self.runner.environment
        given = environment.parsed_options
        try:
            shape = Options.read(vars(given)).shape
        except ValueError as error:
            _log.error("%s", error)
            environment.process_exit_code = 2
            return None
        # locust kills a start that is under way when the number of users changes, and with it the start of the fleet.
        conductor = conductor_of(environment)
        has_begun = conductor is not None and conductor.is_running
        now, duration = self.get_run_time() if has_begun else 0.0, given.run_time
        if duration and now >= duration:
            return None
        peak = given.num_users or 1
        length = float(duration or DEFAULT_SECONDS)
        return shape.users(now % length, peak, length), min(100.0, float(peak))
