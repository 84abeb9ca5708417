"""The figures of a load, for people."""

from __future__ import annotations

from collections.abc import Sequence

from fleetsim.engine.limits import EngineLimits
from fleetsim.explain.figures import Figures, Spread
from fleetsim.explain.workload import Workload
from fleetsim.presets import Preset
from fleetsim.units import format_duration

__all__ = ["chart", "page_lines"]

_HEIGHTS = " ▁▂▃▄▅▆▇█"


def page_lines(preset: Preset, limits: EngineLimits, workload: Workload, figures: Figures) -> list[str]:
    """The account of a load, within 80 columns."""
    return [
        *_head(preset, limits, workload),
        "",
        *_throughput(figures),
        "",
        f"{'':<22}{'mean':>9}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}",
        _times("time to first token", figures.ttft),
        _times("of it in the queue", figures.queue),
        _times("inter-token latency", figures.itl),
        _times("the whole answer", figures.e2e),
        "",
        *chart("waiting", figures.waiting),
        *chart("running", figures.running),
        *_verdict(figures),
    ]


def chart(name: str, values: Sequence[int]) -> list[str]:
    """A line of bars over time, the highest of which is said beside it."""
    most = max(values)
    bars = "".join(_HEIGHTS[-(-value * 8 // most)] if most else _HEIGHTS[0] for value in values)
    return [f"{name:<8}|{bars}| {most:,}"]


def _head(preset: Preset, limits: EngineLimits, workload: Workload) -> list[str]:
    common = f", the first {workload.prefix:,} common to all" if workload.prefix else ""
    room = f"{limits.kv_tokens:,} tokens of KV cache"
    return [
        f"{preset.name}: {preset.model} on {preset.gpus}x{preset.gpu}, on paper",
        f"{workload.requests:,} requests, {workload.rate:g} per second, seed {workload.seed}; each with a prompt of",
        f"{workload.prompt:,} tokens{common}, and {workload.output:,} of output",
        f"at most {limits.max_num_seqs:,} sequences and {limits.max_num_batched_tokens:,} tokens per step, {room}",
    ]


def _throughput(figures: Figures) -> list[str]:
    tokens = (
        f"{figures.output_tokens_per_second:,.0f} tokens of output, {figures.prompt_tokens_per_second:,.0f} of prompts"
    )
    running = f"{figures.mean_running:,.1f} running on average"
    lines = [
        f"{figures.requests_per_second:,.2f} requests per second, {tokens}",
        f"busy {figures.busy:.0%} of {_seconds(figures.seconds)}, {running}, KV cache {figures.peak_kv_usage:.0%} full",
    ]
    told = {"refused": figures.refused, "preemptions": figures.preemptions, "tokens cached": figures.cached_tokens}
    if any(told.values()):
        lines.append(", ".join(f"{name}: {count:,}" for name, count in told.items() if count))
    return lines


def _times(name: str, times: Spread) -> str:
    shown = (times.mean, times.p50, times.p90, times.p99, times.max)
    return f"{name:<22}" + "".join(f"{_seconds(each):>9}" for each in shown)


def _verdict(figures: Figures) -> list[str]:
    if not figures.growing:
        return []
    return ["", "The queue kept growing: that is more than one such server can do."]


def _seconds(seconds: float) -> str:
    """Three digits are enough here."""
    return format_duration(float(f"{seconds:.3g}"))
