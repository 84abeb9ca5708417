from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleetsim.engine.limits import EngineLimits, QueueFullError, QueueLimit
from fleetsim.engine.request import Request
from fleetsim.engine.scheduler import Scheduler
from fleetsim.engine.steps import Step


def scheduler(**limits: Any) -> Scheduler:
    return Scheduler(EngineLimits(**{"max_num_batched_tokens": 64, "max_num_seqs": 8, "num_blocks": 100} | limits))


def added(engine: Scheduler, *requests: Request) -> tuple[Request, ...]:
    for request in requests:
        engine.add(request)
    return requests


def drained(engine: Scheduler) -> list[Step]:
    steps = []
    while not engine.idle:
        steps.append(engine.step())
        assert len(steps) < 10_000
    return steps


def test_a_short_prompt_speaks_in_its_first_step_and_then_in_each() -> None:
    engine = scheduler()
    (request,) = added(engine, Request(10, 3))
    first, *rest = drained(engine)
    assert (first.load.prefill_tokens, first.load.decode_sequences, first.spoke) == (10, 0, [request])
    assert [(step.load.prefill_tokens, step.load.decode_sequences) for step in rest] == [(0, 1), (0, 1)]
    assert rest[-1].finished == [request]
    assert engine.idle


def test_a_long_prompt_is_computed_in_chunks_beside_those_who_decode() -> None:
    engine = scheduler()
    (speaking,) = added(engine, Request(4, 50))
    engine.step()
    (long,) = added(engine, Request(150, 1))
    chunks = [engine.step() for _ in range(3)]
    assert [step.scheduled[long] for step in chunks] == [63, 63, 24]
    assert all(speaking in step.spoke for step in chunks)
    assert chunks[-1].finished == [long]


def test_the_threshold_bounds_the_chunks_of_one_prompt() -> None:
    engine = scheduler(long_prefill_token_threshold=20)
    added(engine, Request(50, 1), Request(50, 1))
    assert list(engine.step().scheduled.values()) == [20, 20]


def test_those_who_wait_are_admitted_in_order_while_there_is_room() -> None:
    engine = scheduler(max_num_seqs=2)
    first, second, third = added(engine, Request(4, 2), Request(4, 3), Request(4, 1))
    assert engine.step().admitted == [first, second]
    assert list(engine.waiting) == [third]
    assert engine.step().finished == [first]
    assert engine.step().admitted == [third]


def test_nobody_passes_the_first_that_does_not_fit() -> None:
    engine = scheduler(num_blocks=4)
    added(engine, Request(40, 3), Request(40, 1), Request(1, 1))
    assert len(engine.step().admitted) == 1
    assert [request.prompt_tokens for request in engine.waiting] == [40, 1]


def test_by_priority_the_urgent_one_is_admitted_first() -> None:
    engine = scheduler(policy="priority", max_num_seqs=1)
    _, urgent = added(engine, Request(4, 1), Request(4, 1, priority=-1))
    assert engine.step().admitted == [urgent]


def test_a_prompt_needs_room_for_all_of_it_before_its_first_chunk() -> None:
    engine = scheduler(num_blocks=10)
    added(engine, Request(64, 40), Request(112, 1))
    engine.step()
    assert engine.step().admitted == []


def test_when_the_cache_is_full_the_last_to_be_admitted_starts_over() -> None:
    engine = scheduler(num_blocks=4)
    first, last = added(engine, Request(30, 30), Request(30, 10))
    steps = drained(engine)
    (when,) = [number for number, step in enumerate(steps) if step.preempted]
    assert steps[when].preempted == [last]
    assert steps[when].admitted == []
    assert (first.preemptions, last.preemptions) == (0, 1)
    again = next(step for step in steps[when:] if last in step.admitted)
    assert again.scheduled[last] > 30, "the prompt and what it had said"
    assert [step.finished for step in steps if step.finished] == [[first], [last]]


def test_by_priority_one_that_has_its_tokens_already_gives_them_back() -> None:
    engine = scheduler(policy="priority", num_blocks=4, prefix_caching=False)
    (humble,) = added(engine, Request(18, 30, priority=1))
    engine.step()
    (urgent,) = added(engine, Request(30, 30))
    steps = drained(engine)
    taken = next(step for step in steps if step.preempted)
    assert taken.preempted == [humble]
    assert humble not in taken.scheduled
    assert urgent in taken.scheduled
    assert {humble.left, urgent.left} == {0}


def test_the_tokens_given_back_are_there_for_others_in_the_same_step() -> None:
    limits = {"max_num_batched_tokens": 3, "max_num_seqs": 3, "num_blocks": 6}
    engine = scheduler(policy="priority", prefix_caching=False, **limits)
    (humble,) = added(engine, Request(3, 40, priority=1))
    engine.step()
    urgent, long = added(engine, Request(14, 40), Request(60, 1))
    taken = next(step for step in drained(engine) if step.preempted)
    assert taken.preempted == [humble]
    assert taken.scheduled == {urgent: 1, long: 2}


def test_by_priority_the_first_to_run_may_be_the_one_to_go() -> None:
    """And then nobody gets a token in that step, as in vLLM."""
    engine = scheduler(policy="priority", num_blocks=4, prefix_caching=False)
    (humble,) = added(engine, Request(30, 30, priority=1))
    engine.step()
    (urgent,) = added(engine, Request(18, 30))
    steps = drained(engine)
    taken = next(step for step in steps if step.preempted)
    assert (taken.preempted, taken.load.tokens, taken.stalled) == ([humble], 0, [urgent])
    assert {humble.left, urgent.left} == {0}


def test_a_shared_prefix_is_computed_once() -> None:
    engine = scheduler()
    added(engine, Request(40, 1, keys=("a", "b")))
    engine.step()
    (second,) = added(engine, Request(40, 1, keys=("a", "b")))
    assert engine.step().load.prefill_tokens == 8
    assert second.cached == 32


def test_an_aborted_request_keeps_its_place_until_the_next_step() -> None:
    engine = scheduler(max_num_seqs=1)
    running, waiting = added(engine, Request(4, 50), Request(4, 1))
    engine.step()
    assert engine.abort(running)
    assert (engine.running, engine.in_flight) == ([running], 1)
    step = engine.step()
    assert (step.aborted, step.admitted) == ([running], [waiting])
    assert not engine.abort(running)


def test_a_finished_request_cannot_be_aborted() -> None:
    engine = scheduler()
    (request,) = added(engine, Request(4, 1))
    engine.step()
    assert not engine.abort(request)


def test_the_limit_of_requests_counts_those_that_wait_and_those_that_run() -> None:
    engine = scheduler(max_num_queued_reqs=2)
    first, _ = added(engine, Request(4, 9), Request(4, 9))
    engine.step()
    with pytest.raises(QueueFullError, match="max_num_queued_reqs: at most 2, and there are 2") as raised:
        engine.add(Request(4, 9))
    assert raised.value.limit is QueueLimit.REQUESTS
    engine.abort(first)
    engine.add(Request(4, 9))


def test_the_limit_of_tokens_counts_whole_prompts_until_their_first_token() -> None:
    engine = scheduler(max_num_queued_tokens=100)
    added(engine, Request(99, 1), Request(99, 1))
    with pytest.raises(QueueFullError) as raised:
        engine.add(Request(1, 1))
    assert raised.value.limit is QueueLimit.TOKENS
    engine.step()
    assert engine.queued_tokens == 198, "a chunk is not the whole"
    engine.step()
    assert engine.queued_tokens == 99
    engine.add(Request(1, 1))


def test_what_could_never_fit_is_refused_at_once() -> None:
    engine = scheduler(num_blocks=2)
    with pytest.raises(ValueError, match="expected at most 2 blocks of KV cache, needs 3"):
        engine.add(Request(30, 4))
    engine.add(Request(30, 3))


def test_a_request_is_added_once() -> None:
    engine = scheduler()
    (request,) = added(engine, Request(1, 1))
    with pytest.raises(ValueError, match=re.escape("never added, got Request(1, 1, computed=0")):
        engine.add(request)


def test_a_stroke_goes_no_further_than_the_blocks_do() -> None:
    engine = scheduler(num_blocks=4)
    first, second = added(engine, Request(14, 30), Request(14, 30))
    engine.step()
    assert engine.repeatable() == 14
    engine.repeat(14)
    assert (first.computed, second.computed, first.blocks, second.blocks) == (28, 28, 2, 2)


LENGTHS = st.tuples(st.integers(1, 90), st.integers(1, 40))


@given(st.lists(LENGTHS, min_size=1, max_size=12), st.integers(9, 40), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_steps_done_at_a_stroke_leave_what_single_steps_leave(
    lengths: list[tuple[int, int]], num_blocks: int, before: int
) -> None:
    stroke, single = scheduler(num_blocks=num_blocks), scheduler(num_blocks=num_blocks)
    for engine in (stroke, single):
        added(engine, *(Request(*each) for each in lengths))
        for _ in range(before):
            engine.step()
    steps = stroke.repeatable()
    if steps:
        middle = stroke.repeat(steps).context_tokens
        contexts = []
        for _ in range(steps):
            step = single.step()
            assert (step.finished, step.preempted, step.admitted) == ([], [], [])
            contexts.append(step.load.context_tokens)
        assert contexts[0] <= middle <= contexts[-1]
    assert [repr(request) for request in stroke.running] == [repr(request) for request in single.running]
    assert (stroke.blocks.free, stroke.blocks.used) == (single.blocks.free, single.blocks.used)


class Played(RuleBasedStateMachine):
    """Arrivals, aborts, steps and strokes of them, in any order, on an engine too small for what it is given."""

    @initialize(
        policy=st.sampled_from(["fcfs", "priority"]),
        budget=st.integers(4, 70),
        seqs=st.integers(1, 4),
        blocks=st.integers(9, 20),
        threshold=st.none() | st.integers(1, 40),
    )
    def start(self, policy: str, budget: int, seqs: int, blocks: int, threshold: int | None) -> None:
        self.engine = scheduler(
            policy=policy,
            max_num_batched_tokens=budget,
            max_num_seqs=seqs,
            num_blocks=blocks,
            long_prefill_token_threshold=threshold,
        )
        self.alive: list[Request] = []
        self.said: dict[Request, int] = {}
        self.first_admitted: list[Request] = []

    @rule(lengths=LENGTHS, priority=st.integers(0, 2), prefix=st.lists(st.sampled_from("ab"), max_size=5))
    def arrive(self, lengths: tuple[int, int], priority: int, prefix: list[str]) -> None:
        keys = tuple(itertools.accumulate(prefix))
        request = Request(*lengths, priority=priority, keys=keys)
        self.engine.add(request)
        self.alive.append(request)
        self.said[request] = 0

    @precondition(lambda self: self.alive)
    @rule(which=st.integers(0, 1_000))
    def give_up(self, which: int) -> None:
        assert self.engine.abort(self.alive.pop(which % len(self.alive)))

    @rule(times=st.integers(1, 10))
    def step(self, times: int) -> None:
        for _ in range(times):
            self.judge(self.engine.step())

    @rule()
    def stroke(self) -> None:
        steps = self.engine.repeatable()
        if steps:
            self.engine.repeat(steps)
            for request in self.engine.running:
                self.said[request] += steps

    def judge(self, step: Step) -> None:
        limits = self.engine.limits
        assert step.load.tokens == sum(step.scheduled.values()) <= limits.max_num_batched_tokens
        assert all(tokens > 0 for tokens in step.scheduled.values())
        assert len(step.scheduled) <= limits.max_num_seqs
        assert step.load.tokens or step.preempted or not self.alive, "whoever is there gets on"
        assert not (step.preempted and step.admitted)
        for request in step.spoke:
            self.said[request] += 1
        self.first_admitted += [request for request in step.admitted if not request.preemptions]
        for request in step.finished:
            assert self.said[request] == request.output_tokens
            self.alive.remove(request)

    @invariant()
    def every_request_is_in_one_place(self) -> None:
        if hasattr(self, "engine"):
            there = [*self.engine.running, *self.engine.waiting]
            assert len(there) == len(set(there))
            assert set(self.alive) <= set(there)
            assert self.engine.in_flight == len(self.alive)
            assert len(self.engine.running) <= self.engine.limits.max_num_seqs

    @invariant()
    def every_token_is_counted_once(self) -> None:
        if hasattr(self, "engine"):
            assert all(self.said[request] == request.generated for request in self.alive)
            silent = sum(request.prompt_tokens for request in self.alive if not request.generated)
            assert self.engine.queued_tokens == silent

    @invariant()
    def every_block_is_in_one_place(self) -> None:
        if hasattr(self, "engine"):
            blocks, size = self.engine.blocks, self.engine.limits.block_size
            owners = [*self.engine.running, *self.engine.waiting]
            assert blocks.empty + blocks.idle + blocks.used == blocks.capacity
            assert blocks.empty >= 0
            assert blocks.private == sum(request.blocks - request.shared for request in owners)
            shared = [key for request in owners for key in request.keys[: request.shared]]
            assert all(blocks.users(key) == shared.count(key) for key in shared)
            assert blocks.used == blocks.private + len(set(shared))
            assert all(request.computed <= request.blocks * size for request in owners)
            assert all(request.blocks == 0 for request in self.engine.waiting)

    @invariant()
    def nobody_is_overtaken_by_arrival(self) -> None:
        if hasattr(self, "engine") and self.engine.limits.policy == "fcfs":
            orders = [request.order for request in self.first_admitted]
            assert orders == sorted(orders)

    def teardown(self) -> None:
        """Everybody who stayed is answered in the end, and all is free again."""
        if hasattr(self, "engine"):
            for _ in range(200 * len(self.alive) + 1):
                self.judge(self.engine.step())
            assert not self.alive
            assert self.engine.idle
            assert (self.engine.blocks.used, self.engine.blocks.free) == (0, self.engine.blocks.capacity)


TestPlayed = Played.TestCase
TestPlayed.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
