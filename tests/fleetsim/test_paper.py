from __future__ import annotations

import msgspec
import pytest

from fleetsim.engine.limits import EngineLimits
from fleetsim.engine.step_time import Linear
from fleetsim.explain import Figures, Workload, play
from fleetsim.presets import Preset, preset

ENGINE = Preset(
    name="paper",
    model="any",
    gpu="any",
    gpus=1,
    limits=EngineLimits(max_num_batched_tokens=512, max_num_seqs=16, num_blocks=200),
    step_time=Linear(base=0.01, per_prefill_token=0.0001, per_sequence=0.001),
    overhead=0.5,
)


def played(rate: float, *, limits: EngineLimits | None = None, **load: int) -> Figures:
    values = {"prompt": 100, "output": 11, "requests": 200} | load
    return play(ENGINE, Workload(rate=rate, **values), limits=limits)


def test_who_is_alone_waits_for_nobody() -> None:
    figures = played(0.001)
    assert figures.ttft.max == pytest.approx(0.5 + 0.01 + 0.01)
    assert (figures.itl.p50, figures.itl.max) == (0.011, 0.011)
    assert figures.e2e.p99 == pytest.approx(0.52 + 10 * 0.011)
    assert figures.queue.max == 0
    assert figures.steps == 200 * 11


def test_a_preset_alone_is_as_fast_as_it_says() -> None:
    shown = preset("70b-h100-tp8")
    figures = play(shown, Workload(rate=0.001, prompt=256, output=2, requests=20))
    assert figures.ttft.max == pytest.approx(shown.ttft(256))
    assert figures.itl.max == pytest.approx(shown.itl(257), abs=1e-5)


def test_every_token_is_told_once() -> None:
    for rate in (1, 50, 1_000):
        figures = played(rate)
        assert figures.output_tokens_per_second * figures.seconds == pytest.approx(200 * 11)
        assert figures.requests_per_second * figures.seconds == pytest.approx(200)


def test_a_prompt_stretches_the_gaps_of_those_beside_it() -> None:
    calm, busy = played(0.001), played(20)
    assert busy.itl.p50 < calm.itl.p50 + 0.02
    assert busy.itl.max > calm.itl.max + 0.005


def test_strokes_come_to_what_single_steps_come_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where context costs nothing and nobody arrives in between, to the last digit."""
    at_a_stroke = played(0.5)
    monkeypatch.setattr("fleetsim.explain.paper._STROKE", 0)
    by_itself = played(0.5)
    first, second = (msgspec.structs.asdict(each) for each in (at_a_stroke, by_itself))
    for name in ("steps", "preemptions", "peak_waiting", "running"):
        assert first[name] == second[name]
    for name in ("ttft", "itl", "e2e"):
        assert msgspec.structs.astuple(first[name]) == pytest.approx(msgspec.structs.astuple(second[name]))


def test_more_than_it_can_do_is_said() -> None:
    assert not played(1).growing
    assert played(10_000, output=200, requests=400).growing


def test_a_full_cache_preempts_and_all_are_answered_nevertheless() -> None:
    tight = EngineLimits(max_num_batched_tokens=512, max_num_seqs=16, num_blocks=28)
    figures = played(1_000, limits=tight, output=60)
    assert figures.preemptions > 0
    assert figures.requests_per_second * figures.seconds == pytest.approx(200)
    assert figures.itl.max > played(1_000, output=60).itl.max


def test_waiting_again_after_a_preemption_is_no_part_of_the_queue() -> None:
    tight = EngineLimits(max_num_batched_tokens=512, max_num_seqs=16, num_blocks=4)
    figures = played(1_000, limits=tight, prompt=30, output=30, requests=2)
    assert figures.preemptions == 1
    assert figures.queue.max < figures.ttft.max - ENGINE.overhead


def test_a_limit_of_the_queue_refuses_the_rest() -> None:
    short = EngineLimits(max_num_batched_tokens=512, max_num_seqs=16, num_blocks=200, max_num_queued_reqs=20)
    figures = played(10_000, limits=short)
    assert figures.refused > 0
    assert figures.requests_per_second * figures.seconds == pytest.approx(200 - figures.refused)


def test_a_common_prefix_is_computed_for_the_first_only() -> None:
    alone, common = played(0.001), played(0.001, prefix=96)
    assert common.cached_tokens == 199 * 96
    assert common.ttft.p50 == pytest.approx(alone.ttft.p50 - 96 * 0.0001)


def test_the_same_seed_comes_to_the_same_figures() -> None:
    def jittered(seed: int) -> Figures:
        return play(ENGINE, Workload(rate=20, requests=50, seed=seed), jitter="lognormal")

    assert jittered(1) == jittered(1)
    assert jittered(1) != jittered(2)
    assert jittered(1) != play(ENGINE, Workload(rate=20, requests=50, seed=1))
