"""`fleetsim explain`: the command."""

from __future__ import annotations

from typing import Any, Literal

import click
import msgspec

from fleetsim.engine.limits import EngineLimits
from fleetsim.explain.page import page_lines
from fleetsim.explain.paper import play
from fleetsim.explain.workload import Workload
from fleetsim.presets import Preset, preset

__all__ = ["explain"]


@click.command()
@click.option("--preset", "name", required=True, metavar="NAME", help="The engine; see fleetsim presets.")
@click.option("--rate", type=float, required=True, help="Requests per second.")
@click.option("--prompt", type=int, default=512, help="Tokens of each prompt.")
@click.option("--output", type=int, default=128, help="Tokens of each answer.")
@click.option("--prefix", type=int, default=0, help="Tokens that all prompts begin with.")
@click.option("--requests", type=int, default=10_000, help="How many come.")
@click.option("--seed", type=int, default=0, help="When they come, and the jitter.")
@click.option("--jitter", type=click.Choice(["none", "normal", "lognormal"]), default="none", help="Of each step.")
@click.option("--max-num-seqs", type=int, help="Instead of the preset's.")
@click.option("--max-num-batched-tokens", type=int, help="Instead of the preset's.")
@click.option("--max-num-queued-reqs", type=int, help="Refuse more than so many.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def explain(
    name: str,
    jitter: Literal["none", "normal", "lognormal"],
    max_num_seqs: int | None,
    max_num_batched_tokens: int | None,
    max_num_queued_reqs: int | None,
    as_json: bool,
    **load: Any,
) -> None:
    """What one server would do with a load, on paper.

    Example: fleetsim explain --preset 8b-h100 --rate 4
    """
    engine = preset(name)
    given = {
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max_num_batched_tokens,
        "max_num_queued_reqs": max_num_queued_reqs,
    }
    try:
        limits = _limits(engine, {key: value for key, value in given.items() if value is not None})
        workload = Workload(**load)
        figures = play(engine, workload, limits=limits, jitter=jitter)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(figures))
    else:
        click.echo("\n".join(page_lines(engine, limits, workload, figures)))


def _limits(engine: Preset, given: dict[str, int]) -> EngineLimits:
    """The preset's, with what was `given` in their place. Fewer tokens per step allow only as many sequences."""
    values = msgspec.structs.asdict(engine.limits) | given
    if "max_num_seqs" not in given:
        values["max_num_seqs"] = min(values["max_num_seqs"], max(1, values["max_num_batched_tokens"]))
    return EngineLimits(**values)
