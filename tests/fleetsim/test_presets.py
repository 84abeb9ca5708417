from __future__ import annotations

import pytest

from fleetsim.errors import FleetError, PresetError
from fleetsim.presets import PRESETS, preset

# From docs/latency-profiles.md of llm-d/llm-d-inference-sim, in milliseconds, for a batch of one: time to first token
# of 256 tokens, time between tokens, overhead of a prompt, and time for each of its tokens.
Range = tuple[float, float]
PUBLISHED: dict[str, tuple[Range, Range, Range, Range]] = {
    "3b-h100": ((30, 60), (5, 8), (15, 25), (0.10, 0.20)),
    "3b-a100": ((50, 90), (8, 12), (15, 25), (0.20, 0.35)),
    "3b-l40s": ((80, 130), (12, 18), (15, 25), (0.35, 0.55)),
    "3b-mi300x": ((25, 50), (6, 10), (15, 25), (0.08, 0.15)),
    "8b-h100": ((60, 120), (10, 15), (25, 40), (0.15, 0.30)),
    "8b-a100": ((100, 180), (15, 25), (25, 40), (0.30, 0.55)),
    "8b-l40s": ((180, 280), (25, 35), (25, 40), (0.65, 1.00)),
    "8b-mi300x": ((50, 100), (12, 18), (25, 40), (0.11, 0.23)),
    "13b-h100": ((120, 200), (15, 22), (40, 60), (0.55, 0.85)),
    "13b-a100": ((180, 300), (22, 35), (40, 60), (0.90, 1.40)),
    "13b-l40s": ((350, 500), (40, 55), (40, 60), (1.50, 2.20)),
    "13b-mi300x": ((100, 170), (18, 28), (40, 60), (0.42, 0.65)),
    "34b-h100-tp2": ((160, 280), (20, 30), (50, 80), (0.30, 0.50)),
    "34b-a100-tp2": ((280, 450), (30, 45), (50, 80), (0.60, 1.00)),
    "34b-mi300x-tp2": ((130, 230), (25, 35), (50, 80), (0.22, 0.38)),
    "70b-h100-tp4": ((250, 400), (25, 40), (70, 110), (0.60, 0.90)),
    "70b-a100-tp4": ((400, 700), (40, 60), (70, 110), (1.20, 1.80)),
    "70b-mi300x-tp4": ((200, 330), (30, 45), (70, 110), (0.45, 0.68)),
    "70b-h100-tp8": ((150, 250), (18, 28), (60, 100), (0.40, 0.60)),
    "70b-a100-tp8": ((250, 400), (28, 45), (60, 100), (0.80, 1.30)),
    "70b-mi300x-tp8": ((120, 215), (22, 32), (60, 100), (0.30, 0.45)),
    "405b-h100-tp8": ((600, 1_400), (60, 100), (150, 250), (2, 4)),
    "405b-mi300x-tp8": ((900, 2_000), (70, 120), (150, 250), (3, 6)),
}
# For engines tuned for throughput, from the same page.
LOAD_FACTOR = (2.5, 3.5)


def within(value: float, limits: Range) -> bool:
    return limits[0] - 1e-9 <= value <= limits[1] + 1e-9


def test_there_is_a_preset_for_each_published_row_and_no_other() -> None:
    assert PRESETS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_alone_each_is_as_fast_as_published(name: str) -> None:
    ttft, itl, overhead, per_token = PUBLISHED[name]
    shown = PRESETS[name]
    assert within(shown.ttft(256) * 1_000, ttft)
    assert within(shown.itl(256) * 1_000, itl)
    assert within((shown.overhead + shown.step_time.base) * 1_000, overhead)
    assert within(shown.step_time.per_prefill_token * 1_000, per_token)
    assert shown.overhead > 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_full_batch_slows_each_as_published(name: str) -> None:
    shown = PRESETS[name]
    full = shown.step_time.base + 256 * shown.step_time.per_sequence
    assert within(full / shown.itl(256), LOAD_FACTOR)


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_has_room_for_a_prompt_as_long_as_its_budget(name: str) -> None:
    limits = PRESETS[name].limits
    assert limits.kv_tokens > limits.max_num_batched_tokens


def test_a_prompt_beyond_the_budget_takes_several_steps() -> None:
    shown = PRESETS["8b-a100"]
    step = shown.ttft(2_048) - shown.overhead
    assert shown.ttft(4_096) > shown.overhead + 2 * step


def test_a_name_that_is_none_gets_the_nearest() -> None:
    with pytest.raises(PresetError, match="no preset '8b-h10'; did you mean 8b-h100"):
        preset("8b-h10")
    with pytest.raises(FleetError, match="no preset 'x'; fleetsim presets lists them"):
        preset("x")
