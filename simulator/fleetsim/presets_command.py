"""`fleetsim presets`: the engines by name, printed."""

from __future__ import annotations

from collections.abc import Iterable

import click
import msgspec

from fleetsim.presets import PRESETS, Preset

__all__ = ["listing", "presets"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one preset per line.")
def presets(as_json: bool) -> None:
    """List the engines that are known by model size and GPU.

    TTFT is the time to first token of 256 tokens that are alone, ITL the time
    between tokens of one sequence; KV cache in tokens.

    Example: fleetsim presets
    """
    if as_json:
        click.echo("\n".join(msgspec.json.encode(each).decode() for each in PRESETS.values()))
    else:
        click.echo("\n".join(listing(PRESETS.values())))


def listing(shown: Iterable[Preset]) -> list[str]:
    """The lines that list `shown`, and at the end their sources."""
    kept = list(shown)
    head = f"{'NAME':<16} {'MODEL':<7} {'GPU':<9} {'TTFT':>7} {'ITL':>7} {'PER TOKEN':>9} {'KV CACHE':>9}"
    sources = sorted({each.source for each in kept})
    return [head, *map(_line, kept), "", *(f"Source: {source}" for source in sources)]


def _line(shown: Preset) -> str:
    gpu = f"{shown.gpus}x{shown.gpu}"
    times = f"{_ms(shown.ttft()):>7} {_ms(shown.itl()):>7} {shown.step_time.per_prefill_token * 1_000:>7.2f}ms"
    return f"{shown.name:<16} {shown.model:<7} {gpu:<9} {times} {shown.limits.kv_tokens:>9,}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:.1f}ms"
