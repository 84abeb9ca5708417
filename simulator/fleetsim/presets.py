"""Engines by model size and GPU: step times, limits and KV caches of what people run.

The published figures are those of a batch of one (`GUIDE`), and a preset's own lie within them. What they leave open:

- Of the time per token of a prompt the lower end is taken, as far as the time to first token allows: a batch of one
  bears alone what a full one shares.
- The overhead of a prompt is what a step takes anyway, and for the rest time outside of the steps: it delays the first
  token, and nobody else's.
- A step of 256 sequences takes three times as long as one of a single sequence, as the guide has it for engines tuned
  for throughput (2.5 to 3.5), and each token of context what it takes to read its keys and values from memory.
- The KV cache has what 90 percent of the memory leaves beside the weights (16 bits each; 8 for 405B on H100).
"""

from __future__ import annotations

import difflib

import msgspec

from fleetsim.engine.limits import EngineLimits
from fleetsim.engine.step_time import Linear
from fleetsim.engine.steps import Load
from fleetsim.errors import PresetError

__all__ = ["GUIDE", "PRESETS", "Preset", "preset"]

GUIDE = "llm-d/llm-d-inference-sim: docs/latency-profiles.md"
_GUIDE_PROMPT = 256
_FACTOR_SEQUENCES = 256
_LOAD_FACTOR = 3.0


class Gpu(msgspec.Struct, frozen=True):
    """`memory` in bytes, `bandwidth` in bytes per second; vLLM's defaults for it (engine/arg_utils.py)."""

    name: str
    memory: float
    bandwidth: float
    max_num_batched_tokens: int
    max_num_seqs: int


class Model(msgspec.Struct, frozen=True):
    """`weights` and `kv` in bytes: of all weights, and of the keys and values of one token."""

    size: str
    weights: float
    kv: int


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """An engine: its limits, how long its steps take, and `overhead`, seconds that each first token comes later."""

    name: str
    model: str
    gpu: str
    gpus: int
    limits: EngineLimits
    step_time: Linear
    overhead: float
    source: str = GUIDE

    def ttft(self, prompt_tokens: int = _GUIDE_PROMPT) -> float:
        """Return the time to first token of a prompt that is alone, in seconds."""
        budget = self.limits.max_num_batched_tokens
        chunks = [min(budget, prompt_tokens - start) for start in range(0, prompt_tokens, budget)]
        ends = [min(prompt_tokens, start + budget) for start in range(0, prompt_tokens, budget)]
        steps = [Load(chunk, 0, end) for chunk, end in zip(chunks, ends, strict=True)]
        return self.overhead + sum(map(self.step_time.seconds, steps))

    def itl(self, context_tokens: int = _GUIDE_PROMPT) -> float:
        """Return the time between the tokens of a sequence that is alone, in seconds."""
        return self.step_time.seconds(Load(0, 1, context_tokens))


# Memory and bandwidth: inference-sim/inference-sim (H100, A100, L40S), AMD's data sheet (MI300X).
_GPUS = {
    "h100": Gpu("H100", 80e9, 3.35e12, 8_192, 1_024),
    "a100": Gpu("A100", 80e9, 2.04e12, 2_048, 256),
    "l40s": Gpu("L40S", 48e9, 0.864e12, 2_048, 256),
    "mi300x": Gpu("MI300X", 192e9, 5.3e12, 16_384, 1_024),
}

# Keys and values: 2 x layers x KV heads x head size x 2 bytes, of Llama 3.2 3B, Llama 3 8B, Llama 2 13B, Yi 34B,
# Llama 3 70B, and for 405B as the guide has it.
_MODELS = {
    "3b": Model("1-3B", 6e9, 2 * 28 * 8 * 128 * 2),
    "8b": Model("7-8B", 16e9, 2 * 32 * 8 * 128 * 2),
    "13b": Model("13B", 26e9, 2 * 40 * 40 * 128 * 2),
    "34b": Model("30-34B", 68e9, 2 * 60 * 8 * 128 * 2),
    "70b": Model("70B", 140e9, 2 * 80 * 8 * 128 * 2),
    "405b": Model("405B", 810e9, 2 * 126 * 16 * 128 * 2),
}

# Milliseconds: overhead of a prompt, each of its tokens, time between tokens.
_ROWS = (
    ("3b-h100", 20.0, 0.10, 6.5),
    ("3b-a100", 20.0, 0.20, 10.0),
    ("3b-l40s", 20.0, 0.35, 15.0),
    ("3b-mi300x", 20.0, 0.08, 8.0),
    ("8b-h100", 32.5, 0.16, 12.5),
    ("8b-a100", 32.5, 0.34, 20.0),
    ("8b-l40s", 32.5, 0.67, 30.0),
    ("8b-mi300x", 32.5, 0.12, 15.0),
    ("13b-h100", 50.0, 0.55, 18.5),
    ("13b-a100", 50.0, 0.90, 28.5),
    ("13b-l40s", 50.0, 1.50, 47.5),
    ("13b-mi300x", 50.0, 0.42, 23.0),
    ("34b-h100-tp2", 65.0, 0.48, 25.0),
    ("34b-a100-tp2", 65.0, 0.98, 37.5),
    ("34b-mi300x-tp2", 65.0, 0.36, 30.0),
    ("70b-h100-tp4", 90.0, 0.75, 32.5),
    ("70b-a100-tp4", 90.0, 1.48, 50.0),
    ("70b-mi300x-tp4", 90.0, 0.56, 37.5),
    ("70b-h100-tp8", 80.0, 0.40, 23.0),
    ("70b-a100-tp8", 80.0, 0.82, 36.5),
    ("70b-mi300x-tp8", 80.0, 0.30, 27.0),
    ("405b-h100-tp8", 200.0, 2.35, 80.0),
    ("405b-mi300x-tp8", 200.0, 3.80, 95.0),
)


def _made(name: str, overhead: float, per_token: float, itl: float) -> Preset:
    size, card, *parallel = name.split("-")
    model, gpu = _MODELS[size], _GPUS[card]
    gpus = int(parallel[0].removeprefix("tp")) if parallel else 1
    per_sequence = (_LOAD_FACTOR - 1) * itl / 1_000 / (_FACTOR_SEQUENCES - 1)
    per_context = model.kv / (gpus * gpu.bandwidth)
    base = itl / 1_000 - per_sequence - _GUIDE_PROMPT * per_context
    return Preset(
        name=name,
        model=model.size,
        gpu=gpu.name,
        gpus=gpus,
        limits=_limits(name, model, gpu, gpus),
        step_time=Linear(
            base=base, per_prefill_token=per_token / 1_000, per_sequence=per_sequence, per_context_token=per_context
        ),
        overhead=overhead / 1_000 - base,
    )


def _limits(name: str, model: Model, gpu: Gpu, gpus: int) -> EngineLimits:
    weights = model.weights / 2 if name == "405b-h100-tp8" else model.weights
    block_size = 16
    return EngineLimits(
        max_num_batched_tokens=gpu.max_num_batched_tokens,
        max_num_seqs=gpu.max_num_seqs,
        block_size=block_size,
        num_blocks=int((0.9 * gpus * gpu.memory - weights) / (block_size * model.kv)),
    )


PRESETS = {row[0]: _made(*row) for row in _ROWS}


def preset(name: str) -> Preset:
    """Return the preset of that name. Raises PresetError, with the nearest name, if there is none."""
    if name in PRESETS:
        return PRESETS[name]
    close = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"did you mean {close[0]}?" if close else "fleetsim presets lists them"
    raise PresetError(f"no preset {name!r}; {hint}")
