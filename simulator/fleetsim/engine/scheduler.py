"""The step loop of vLLM's scheduler (v1/core/sched/scheduler.py), without a clock, a GPU or words.

There are no phases: in each step every request gets as many tokens as it lacks, out of one budget. Who runs is served
first, in order of admission; so a long prompt is computed in chunks and stretches the steps of all who run beside it.
Then those who wait are admitted, in order and never past the first that does not fit.

What may change the state: `add` and `abort`, between steps, and `step` and `repeat`. A request is in one place: waiting
or running; gone once it is in a step's `finished` or `aborted`. An aborted one keeps its place until the next step, as
in vLLM, but counts no longer in `in_flight`.

What is guaranteed: no step computes more than `max_num_batched_tokens` or runs more than `max_num_seqs`; the blocks of
who is gone are free; and whoever is first in line or first to run gets on, so everybody does under FCFS.

What is hard: the KV cache may be full when somebody who runs needs a block. Then whoever was admitted last (by
priority: comes last by priority and arrival) loses its blocks, goes back to the head of the line and will compute them
again; nobody is admitted in that step. It may be the very one that asked. By priority it may be one that has its tokens
of this step already, which go back to the budget. For one alone there is always room: `add` refuses what can never fit.

`repeat` does several steps at a stroke where nothing but time would tell them apart, for those who simulate on paper.
"""

from __future__ import annotations

from fleetsim.engine.blocks import KVBlocks
from fleetsim.engine.limits import EngineLimits, QueueFullError, QueueLimit
from fleetsim.engine.request import Request
from fleetsim.engine.steps import Load, Step
from fleetsim.engine.waiting import WaitingLine, waiting_line

__all__ = ["Scheduler"]


class Scheduler:
    """Decides step by step what an engine with `limits` computes."""

    __slots__ = ("_aborted", "_arrivals", "_backlog", "_budget", "_members", "blocks", "limits", "running", "waiting")

    def __init__(self, limits: EngineLimits) -> None:
        self.limits = limits
        self.blocks = KVBlocks(limits)
        self.waiting: WaitingLine = waiting_line(limits.policy)
        self.running: list[Request] = []
        self._members: set[Request] = set()
        self._aborted: set[Request] = set()
        self._arrivals = self._backlog = self._budget = 0

    @property
    def in_flight(self) -> int:
        """Requests that wait or run, without those that are aborted."""
        return len(self._members)

    @property
    def queued_tokens(self) -> int:
        """Prompt tokens of the requests in flight that have no first token yet."""
        return self._backlog

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return not (self._members or self._aborted)

    def check_queue(self, requests: int = 1) -> None:
        """Raise QueueFullError if so many more requests may not be queued (vLLM: v1/engine/async_llm.py)."""
        most = self.limits.max_num_queued_reqs
        if most is not None and self.in_flight + requests > most:
            raise QueueFullError(QueueLimit.REQUESTS, most, self.in_flight)
        most = self.limits.max_num_queued_tokens
        if most is not None and self._backlog >= most:
            raise QueueFullError(QueueLimit.TOKENS, most, self._backlog)

    def add(self, request: Request) -> None:
        """Let a new `request` wait. Raises QueueFullError, or ValueError if it is not new or never fits the cache."""
        if request.order:
            raise ValueError(f"request: expected one that was never added, got {request!r}")
        needed = self.limits.blocks_for(request.prompt_tokens + request.output_tokens - 1)
        if needed > self.limits.num_blocks:
            raise ValueError(f"request: expected at most {self.limits.num_blocks} blocks of KV cache, needs {needed}")
        self.check_queue()
        self._arrivals += 1
        request.order = self._arrivals
        self._members.add(request)
        self._backlog += request.prompt_tokens
        self.waiting.join(request)

    def abort(self, request: Request) -> bool:
        """Give `request` up from the next step on; return False if it is not in flight."""
        if request not in self._members:
            return False
        self._forget(request)
        self._aborted.add(request)
        return True

    def step(self) -> Step:
        """Do one step and return what happened.

        It computes nothing when nobody is there, and when by priority the first to run is the one to be preempted.
        """
        step = Step()
        self._budget = self.limits.max_num_batched_tokens
        self._drop_aborted(step)
        self._schedule_running(step)
        if not step.preempted:
            self._admit(step)
        self._compute(step)
        return step

    def repeatable(self) -> int:
        """How many steps from now on are alike, whoever arrives: each a token for each who runs, and nothing else.

        Nobody finishes in them, is admitted or preempted.
        """
        running = self.running
        if not running or self._aborted or (len(self.waiting) and len(running) < self.limits.max_num_seqs):
            return 0
        steps = min([request.output_tokens - request.generated for request in running]) - 1
        if steps < 1 or not all(request.decoding for request in running):
            return 0
        while steps > 0 and self._growth(steps) > self.blocks.free:
            steps //= 2
        return steps

    def repeat(self, steps: int) -> Load:
        """Do `steps` steps, of which no more than `repeatable()` may be, and return the load of the middle one.

        As many calls of `step` would leave the same state, but for which of several keeps a block they fill alike.
        """
        before = sum(request.computed for request in self.running)
        for request in self.running:
            self.blocks.grow(request, steps)
            request.computed += steps
            request.generated += steps
        for request in self.running:
            if request.keys:
                self.blocks.publish(request)
        count = len(self.running)
        return Load(0, count, before + count * (steps + 1) // 2, self.blocks.used / self.blocks.capacity)

    def _growth(self, steps: int) -> int:
        blocks_for = self.limits.blocks_for
        return sum(blocks_for(request.computed + steps) - request.blocks for request in self.running)

    def _drop_aborted(self, step: Step) -> None:
        if not self._aborted:
            return
        for request in self._aborted:
            self.blocks.release(request)
        self.running = [each for each in self.running if each not in self._aborted]
        self.waiting.drop(self._aborted)
        step.aborted = sorted(self._aborted, key=lambda request: request.order)
        self._aborted.clear()

    def _schedule_running(self, step: Step) -> None:
        running, scheduled, size = self.running, step.scheduled, self.limits.block_size
        # Whoever is scheduled is at the head of those who run, also when one of them is preempted after all.
        while len(scheduled) < len(running) and self._budget > 0:
            request = running[len(scheduled)]
            tokens = self._chunk(request)
            full = request.computed + tokens > request.blocks * size
            if full and not self._make_room(step, request, tokens):
                break
            scheduled[request] = tokens
            self._budget -= tokens
        step.stalled = [request for request in running[len(scheduled) :] if request.generated]

    def _make_room(self, step: Step, request: Request, tokens: int) -> bool:
        while not self.blocks.grow(request, tokens):
            if self._preempt(step) is request:
                return False
        return True

    def _preempt(self, step: Step) -> Request:
        if self.limits.policy == "priority":
            request = max(self.running, key=lambda each: (each.priority, each.order))
            self.running.remove(request)
        else:
            request = self.running.pop()
        self.blocks.release(request)
        request.preemptions += 1
        self.waiting.rejoin(request)
        step.preempted.append(request)
        self._budget += step.scheduled.pop(request, 0)
        return request

    def _admit(self, step: Step) -> None:
        while len(self.waiting) and self._budget > 0 and len(self.running) < self.limits.max_num_seqs:
            request = self.waiting.first()
            found = self.blocks.found(request)
            # Room for all of the prompt, not only for the first chunk: vLLM's scheduler_reserve_full_isl.
            if not self.blocks.fits(request, found):
                return
            self.blocks.share(request, found)
            tokens = self._chunk(request)
            self.blocks.grow(request, tokens)
            self.waiting.leave()
            self.running.append(request)
            step.admitted.append(request)
            step.scheduled[request] = tokens
            self._budget -= tokens

    def _chunk(self, request: Request) -> int:
        lacking = request.prompt_tokens + request.generated - request.computed
        most = self.limits.long_prefill_token_threshold
        return min(lacking, self._budget) if most is None else min(lacking, self._budget, most)

    def _compute(self, step: Step) -> None:
        usage = self.blocks.used / self.blocks.capacity
        prefill = decode = context = 0
        for request, tokens in step.scheduled.items():
            if request.decoding:
                decode += 1
            else:
                prefill += tokens
            request.computed += tokens
            context += request.computed
            if request.keys:
                self.blocks.publish(request)
            if request.computed == request.prompt_tokens + request.generated:
                self._speak(step, request)
            elif request.generated:
                step.stalled.append(request)
        step.load = Load(prefill, decode, context, usage)
        if step.finished:
            gone = set(step.finished)
            self.running = [request for request in self.running if request not in gone]

    def _speak(self, step: Step, request: Request) -> None:
        if not request.generated:
            self._backlog -= request.prompt_tokens
        request.generated += 1
        step.spoke.append(request)
        if request.generated == request.output_tokens:
            step.finished.append(request)
            self._members.discard(request)
            self.blocks.release(request)

    def _forget(self, request: Request) -> None:
        self._members.discard(request)
        if not request.generated:
            self._backlog -= request.prompt_tokens
