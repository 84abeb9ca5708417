"""A run as a whole, in the one locust process that sees all of it: the master, or the only one.

Theory of operation
-------------------
`begin` starts the fleet, or finds it, and puts its hosts among locust's options: a master sends those to its workers
with the users they are to spawn, wherever they run. `end` waits until every worker has sent what it measured with its
pool closed, asks the fleet's ledger, judges, and sets the exit code.

What is hard: the end. A master that quits fires `test_stop` while its workers still work, and gives them half a second
for their last report. So `end` tells them itself to stop (the message `END`); a worker that stops, for whatever reason,
closes its pool and sends its figures (`FIGURES`); and the master goes on when all have. One that does not within
`_PATIENCE` seconds is missed in the verdict.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any

import gevent
from gevent.event import Event
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from fleetsim.errors import ControlError
from loadtests.bridge import side_of
from loadtests.figures import Figures
from loadtests.fleet import FleetFailed, FleetUnderLoad, fleet_for
from loadtests.options import Options
from loadtests.report import Report
from loadtests.shapes import Strike
from loadtests.summary import summary
from loadtests.thresholds import Finding, judge
from loadtests.timeline import Timeline, Window
from loadtests.traffic import Traffic
from swarmpool import SwarmPoolError

__all__ = ["Conductor", "conduct_begin", "conduct_end", "conductor_of"]

END, FIGURES = "loadtests-end", "loadtests-figures"

_PATIENCE = 20.0
_SAMPLE_SECONDS = {True: 3.0, False: 1.0}  # a master hears from its workers every three seconds
_log = logging.getLogger(__name__)


class Conductor:
    """The runs of one locust, one after the other."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._runner = environment.runner
        self._is_master = isinstance(self._runner, MasterRunner)
        self._reports: dict[str, dict[str, Any]] = {}
        self._finals: set[str] = set()
        self._workers: set[str] = set()
        self._arrived = Event()
        self._open = contextlib.ExitStack()
        self._running = self._has_judged = False
        self._began = 0.0
        self.fleet: FleetUnderLoad | None = None
        self.options = Options.read({})
        self.timeline = Timeline()

    @property
    def is_running(self) -> bool:
        """Whether a run has begun and not ended."""
        return self._running

    # ------------------------------------------------------------------------------------------------- the beginning

    def begin(self) -> None:
        """Start or find the fleet, and watch. A run that cannot begin is over, with exit code 2."""
        try:
            self._begin()
        except (ValueError, FleetFailed, ControlError, SwarmPoolError) as error:
            _log.error("%s", error)
            self._environment.process_exit_code = 2
            self._open.close()
            gevent.spawn(self._runner.stop if self._environment.web_ui is not None else self._runner.quit)

    def _begin(self) -> None:
        given = self._environment.parsed_options
        given.fleet_hosts = ""
        self.options = options = Options.read(vars(given))
        self._reports, self._finals, self.timeline = {}, set(), Timeline()
        self._workers = set(self._runner.clients) if self._is_master else set()
        self.fleet = fleet = self._open.enter_context(fleet_for(options))
        given.fleet_hosts = fleet.hosts
        self._before = fleet.ledger()
        self._began, self._running = time.monotonic(), True
        if self._environment.shape_class is not None:
            self._environment.shape_class.reset_time()  # its clock has run while the fleet was started
        self._open.callback(gevent.spawn(self._sample).kill)
        for strike in self._strikes(len(fleet.endpoints)):
            self._open.callback(gevent.spawn_later(strike.at, self._strike, strike).kill)

    def _strikes(self, size: int) -> tuple[Strike, ...]:
        duration = self._environment.parsed_options.run_time or DEFAULT_SECONDS
        return self.options.shape.strikes(float(duration), size, Traffic(self.options.seed, -1).chance)

    def _strike(self, strike: Strike) -> None:
        assert self.fleet is not None
        begin = time.monotonic() - self._began
        self.fleet.arm(strike)
        self.timeline.windows.append(Window(begin, begin + strike.lasts, strike.label))
        _log.info("%s for %.1f s", strike.label, strike.lasts)

    def _sample(self) -> None:
        while True:
            gevent.sleep(_SAMPLE_SECONDS[self._is_master])
            self._add_point()

    def _add_point(self) -> None:
        self.timeline.add(time.monotonic() - self._began, self._runner.user_count, self.figures())

    # --------------------------------------------------------------------------------------------------- the figures

    def figures(self) -> Figures:
        """A copy of what was measured up to now, by all processes together."""
        side = side_of(self._environment)
        return Figures.total([side.written()] if side is not None else self._reports.values())

    def heard(self, worker: str, written: dict[str, Any], *, last: bool) -> None:
        """A worker has sent its figures; the `last` ones have its pool closed."""
        if worker in self._finals:
            return
        self._reports[worker] = written
        self._workers.add(worker)
        if last:
            self._finals.add(worker)
            self._arrived.set()

    # -------------------------------------------------------------------------------------------------------- the end

    def end(self) -> None:
        """Judge the run, report, and end the fleet if it is ours. Calling it again does nothing."""
        if not self._running:
            return
        self._running = False
        try:
            missing = self._missing()
            self._add_point()
            self._judge(missing)
        except (ControlError, OSError) as error:
            _log.error("%s", error)
            self._environment.process_exit_code = 2
        finally:
            self._open.close()

    def _missing(self) -> set[str]:
        """Tell the workers to stop, and return those whose last figures did not come."""
        for worker in self._workers:
            self._runner.send_message(END, client_id=worker)
        deadline = time.monotonic() + _PATIENCE + self._environment.stop_timeout
        while self._workers - self._finals and time.monotonic() < deadline:
            self._arrived.clear()
            self._arrived.wait(deadline - time.monotonic())
        return self._workers - self._finals

    def _judge(self, missing: set[str]) -> None:
        assert self.fleet is not None
        figures, after = self.figures(), self.fleet.quiet_ledger(self._before)
        findings = judge(figures, self.options.limits, self._before, after)
        if self._is_master:
            heard, all_of_them = len(self._finals), len(self._workers)
            findings = (Finding("workers that reported", str(heard), str(all_of_them), not missing), *findings)
        if self.options.report is not None:
            written = Report(self.options, figures, findings, self.timeline, after).write(self.options.report)
            _log.info("report: %s, %s", *written)
        print(summary(figures, findings), flush=True)  # before what locust says of it on stderr
        self._has_judged = True
        self._set_exit_code(met=all(finding.met for finding in findings))

    def check_judged(self) -> None:
        """See to it that a locust which has judged no run does not end as if all were well."""
        if not self._has_judged and self._environment.process_exit_code is None:
            _log.error("no run came to its end")
            self._environment.process_exit_code = 2

    def _set_exit_code(self, *, met: bool) -> None:
        """The limits decide; but where a task has raised, a run is not all right whatever it has measured."""
        if not met:
            self._environment.process_exit_code = 1
        elif not self._runner.exceptions:
            self._environment.process_exit_code = 0


DEFAULT_SECONDS = 60.0
"""How long a shape takes where no run time is given."""

_conductors: dict[int, Conductor] = {}


def conductor_of(environment: Any) -> Conductor | None:
    """The conductor in this process; None in a worker."""
    return _conductors.get(id(environment))


def conduct_begin() -> None:
    """Listen to locust's events. To be called before `use_pool`, for the pool needs the fleet."""

    def init(environment: Any, runner: Any, **_: Any) -> None:
        if isinstance(runner, WorkerRunner):
            runner.register_message(END, lambda **_: runner.stop())
            return
        _conductors[id(environment)] = conductor = Conductor(environment)
        if isinstance(runner, MasterRunner):
            runner.register_message(FIGURES, lambda msg, **_: conductor.heard(msg.node_id, msg.data, last=True))

    def test_start(environment: Any, **_: Any) -> None:
        if (conductor := conductor_of(environment)) is not None:
            conductor.begin()

    def worker_report(client_id: str, data: dict[str, Any], **_: Any) -> None:
        for conductor in _conductors.values():
            if "pool" in data:
                conductor.heard(client_id, data["pool"], last=False)

    events.init.add_listener(init)
    events.test_start.add_listener(test_start)
    events.worker_report.add_listener(worker_report)


def conduct_end() -> None:
    """Listen to the rest of them. To be called after `use_pool`, for the pool is to be closed first."""

    def init(environment: Any, runner: Any, **_: Any) -> None:
        if isinstance(runner, WorkerRunner):
            events.report_to_master.add_listener(lambda data, **_: _report(environment, data))

    def test_stop(environment: Any, **_: Any) -> None:
        side, conductor = side_of(environment), conductor_of(environment)
        if conductor is not None:
            conductor.end()
        elif side is not None:
            environment.runner.send_message(FIGURES, side.written())

    def quitting(environment: Any, **_: Any) -> None:
        environment.runner.stop()  # Ctrl-C comes here without having stopped anything
        conductor = conductor_of(environment)
        if conductor is not None and environment.parsed_options.headless:
            conductor.check_judged()

    events.init.add_listener(init)
    events.test_stop.add_listener(test_stop)
    events.quitting.add_listener(quitting)


def _report(environment: Any, data: dict[str, Any]) -> None:
    side = side_of(environment)
    if side is not None:  # it is sent before there is one, too
        data["pool"] = side.written()
