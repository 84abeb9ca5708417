"""A load on an engine, in virtual time: one loop over its steps.

Steps in which nothing happens but a token for each who runs are done at a stroke, as far as the next arrival; the time
of the middle one stands for each, so at most `_STROKE` are taken together. With jitter every step is done by itself.
"""

from __future__ import annotations

import random
from typing import Literal

from fleetsim.engine.limits import EngineLimits, QueueFullError
from fleetsim.engine.request import Request
from fleetsim.engine.scheduler import Scheduler
from fleetsim.engine.step_time import StepClock
from fleetsim.engine.steps import Step
from fleetsim.explain.figures import Figures, Recorder
from fleetsim.explain.workload import Workload
from fleetsim.presets import Preset

__all__ = ["play"]

_STROKE = 32


def play(
    preset: Preset,
    workload: Workload,
    *,
    limits: EngineLimits | None = None,
    jitter: Literal["none", "normal", "lognormal"] = "none",
    spread: float = 0.1,
) -> Figures:
    """Return what `preset` would do with `workload`, in `limits` of its own if there are none.

    Raises ValueError when a request would never fit into the KV cache.
    """
    clock = StepClock(preset.step_time, kind=jitter, spread=spread, chance=random.Random(workload.seed + 1))
    return _Play(Scheduler(limits or preset.limits), clock, workload, preset.overhead).run()


class _Timed(Request):
    __slots__ = ("arrived",)

    arrived: float


class _Play:
    def __init__(self, engine: Scheduler, clock: StepClock, workload: Workload, overhead: float) -> None:
        self.engine, self.clock, self.workload, self.overhead = engine, clock, workload, overhead
        self.arrivals = workload.arrivals()
        self.keys = workload.keys(engine.limits.block_size)
        self.recorder = Recorder(self.arrivals[-1])
        self.come = 0
        self.now = 0.0
        self.last_step = 0.0  # how long it took
        self.silent_since: dict[Request, float] = {}  # for who lost a turn: when its last token came

    def run(self) -> Figures:
        engine, total = self.engine, len(self.arrivals)
        while True:
            self._let_in()
            if engine.idle:
                if self.come == total:
                    break
                self.now = self.arrivals[self.come]
                continue
            if self.clock.varies or not self._stroke():
                self._step()
        prompt = self.workload.prompt
        return self.recorder.figures(requests=total, prompt_tokens=prompt, seconds=self.now + self.overhead)

    def _let_in(self) -> None:
        arrivals, workload = self.arrivals, self.workload
        while self.come < len(arrivals) and arrivals[self.come] <= self.now:
            request = _Timed(workload.prompt, workload.output, keys=self.keys)
            request.arrived = arrivals[self.come]
            self.come += 1
            try:
                self.engine.add(request)
            except QueueFullError:
                self.recorder.refused += 1

    def _stroke(self) -> bool:
        if self.silent_since:
            return False
        steps = min(self.engine.repeatable(), _STROKE)
        if steps and self.come < len(self.arrivals) and self.last_step:
            steps = min(steps, int((self.arrivals[self.come] - self.now) / self.last_step) + 1)
        if not steps:
            return False
        load = self.engine.repeat(steps)
        seconds = self.clock.seconds(load)
        self.recorder.gap(seconds, load.decode_sequences * steps)
        self._pass(seconds, steps, load.decode_sequences, load.kv_usage)
        return True

    def _step(self) -> None:
        step = self.engine.step()
        seconds = self.clock.seconds(step.load)
        self._note_admitted(step)
        self._note_tokens(step, seconds)
        self._note_silent(step)
        self.recorder.preemptions += len(step.preempted)
        self._pass(seconds, 1, len(step.scheduled), step.load.kv_usage)

    def _note_admitted(self, step: Step) -> None:
        for request in step.admitted:
            assert isinstance(request, _Timed)
            self.recorder.cached_tokens += request.cached
            if not request.preemptions:
                self.recorder.queue.append(self.now - request.arrived)

    def _note_tokens(self, step: Step, seconds: float) -> None:
        end, recorder, silent_since = self.now + seconds, self.recorder, self.silent_since
        gaps = 0
        for request in step.spoke:
            if request.generated == 1:
                assert isinstance(request, _Timed)
                recorder.ttft.append(end - request.arrived + self.overhead)
            elif silent_since and request in silent_since:
                recorder.gap(end - silent_since.pop(request))
            else:
                gaps += 1
        recorder.gap(seconds, gaps)
        for request in step.finished:
            assert isinstance(request, _Timed)
            recorder.e2e.append(end - request.arrived + self.overhead)
            recorder.output_tokens += request.output_tokens

    def _note_silent(self, step: Step) -> None:
        for request in (*step.stalled, *step.preempted):
            if request.generated:
                self.silent_since.setdefault(request, self.now)

    def _pass(self, seconds: float, steps: int, running: int, kv_usage: float) -> None:
        waiting = len(self.engine.waiting)
        self.recorder.worked(self.now, seconds * steps, steps, running, waiting, kv_usage)
        self.now += seconds * steps
        self.last_step = seconds
