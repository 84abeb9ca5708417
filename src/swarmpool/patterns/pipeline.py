"""Stages, each with agents of its own or the same, where the output of one is the input of the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarmpool.aggregators import nothing_succeeded
from swarmpool.errors import EmptyPool, RequestFailed
from swarmpool.options import count, text
from swarmpool.patterns.reduction import Reduction, reduce_once, reducer_of
from swarmpool.patterns.steps import Manner, checked_items, checked_template, fill, placed
from swarmpool.progress import ProgressCallback
from swarmpool.responses import Response

if TYPE_CHECKING:
    from swarmpool.pool import AgentPool

__all__ = ["PipelineResult", "Stage", "StageResult", "fan_out_fan_in", "run_pipeline", "run_stages"]


@dataclass
class Stage:
    """One step of a pipeline: `prompt_template`, with its input for `{input}`, goes to `n_agents` agents.

    `output_filter(response)` says which responses count, and `output_transform(responses)` makes the output of those
    that do, failures among them if they pass. Without it the output is the texts of the successes, a line each.
    """

    name: str
    prompt_template: str
    n_agents: int
    output_transform: Callable[[list[Response]], Any] | None = None
    output_filter: Callable[[Response], object] | None = None


@dataclass(frozen=True, slots=True)
class StageResult:
    """How a stage went: every response, before the filter, and the output (None if the pipeline stopped here)."""

    name: str
    responses: tuple[Response, ...]
    output: Any


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """How a pipeline went. `stopped` is None, or the failed response that says why there is no `output`."""

    output: Any
    stages: tuple[StageResult, ...]
    stopped: Response | None = None

    @property
    def failures(self) -> tuple[Response, ...]:
        """The failed requests of all stages; the error of each begins with its stage."""
        return tuple(
            placed(response, f"stage {stage.name!r}")
            for stage in self.stages
            for response in stage.responses
            if not response.success
        )


async def run_pipeline(
    pool: AgentPool,
    stages: Sequence[Stage],
    initial_input: Any,
    reuse_agents: bool = True,
    *,
    progress: ProgressCallback | None = None,
    max_tokens: int | None = None,
    **sampling: Any,
) -> Any:
    """The output of the last stage; of no stages, `initial_input`. `run_stages` tells of failures on the way, too.

    Raises `RequestFailed` where `run_stages` would stop; else it is the same.
    """
    result = await run_stages(
        pool, stages, initial_input, reuse_agents, progress=progress, max_tokens=max_tokens, **sampling
    )
    if result.stopped is not None:
        raise RequestFailed(result.stopped)
    return result.output


async def run_stages(
    pool: AgentPool,
    stages: Sequence[Stage],
    initial_input: Any,
    reuse_agents: bool = True,
    *,
    progress: ProgressCallback | None = None,
    max_tokens: int | None = None,
    **sampling: Any,
) -> PipelineResult:
    """Run the stages one after the other, and tell how each of them went.

    Each stage has the first `n_agents` agents of `pool`, or with `reuse_agents` off the next ones, so that no two
    stages share one; it has fewer if there are not so many, and if there is none `EmptyPool` is raised before anything
    is sent. A stage without an `output_transform` in which no agent answers has no output: the pipeline stops there.
    Steps of its progress are the names of the stages. The rest: see `swarmpool.patterns`.
    """
    manner = Manner(progress, max_tokens, sampling=sampling)
    views = list(_views(pool, _checked_stages(stages), reuse_agents))
    output, done = initial_input, []
    for stage, view in zip(stages, views, strict=True):
        responses = await manner.ask_each(view, fill(stage.prompt_template, input=output), stage.name)
        stopped = _nothing_to_go_on_with(stage, responses)
        output = None if stopped else _output(stage, responses)
        done.append(StageResult(stage.name, tuple(responses), output))
        if stopped:
            return PipelineResult(None, tuple(done), stopped)
    return PipelineResult(output, tuple(done))


async def fan_out_fan_in(
    pool: AgentPool,
    prompt: str,
    collect_prompt: str,
    n_workers: int | None = None,
    *,
    progress: ProgressCallback | None = None,
    max_tokens: int | None = None,
    max_tokens_aggregation: int | None = None,
    **sampling: Any,
) -> Reduction:
    """Send `prompt` to the first `n_workers` agents, or to all, and have agent 0 merge what they answer.

    The answers are `{responses}` in `collect_prompt`, separated by a line of three dashes. If no agent answers, the
    result is a failure. Steps of its progress: `fan out`, `fan in`. The rest: see `swarmpool.patterns`.
    """
    manner = Manner(progress, max_tokens, max_tokens_aggregation, sampling)
    template = checked_template("collect_prompt", collect_prompt, "responses")
    workers = pool if n_workers is None else pool.slice(0, count("n_workers", n_workers))
    collector = reducer_of(pool, 0)
    answers = await manner.ask_each(workers, prompt, "fan out")
    return await reduce_once(manner, answers, collector, 0, template, "fan in")


def _checked_stages(stages: object) -> list[Stage]:
    checked = checked_items("stages", stages)
    for index, stage in enumerate(checked):
        if not isinstance(stage, Stage):
            raise TypeError(f"stages[{index}] must be a Stage, not {type(stage).__name__}")
        text(f"stages[{index}].prompt_template", stage.prompt_template)
        count(f"stages[{index}].n_agents", stage.n_agents)
    return checked


def _views(pool: AgentPool, stages: Sequence[Stage], reuse_agents: bool) -> Iterator[AgentPool]:
    start = 0
    for index, stage in enumerate(stages):
        view = pool.slice(start, start + stage.n_agents)
        if not view.size:
            raise EmptyPool(f"stages[{index}] ({stage.name!r}) has no agent: the view has {pool.size} for all stages")
        if not reuse_agents:
            start += stage.n_agents
        yield view


def _nothing_to_go_on_with(stage: Stage, responses: Sequence[Response]) -> Response | None:
    if stage.output_transform is not None or any(response.success for response in responses):
        return None
    return placed(nothing_succeeded("to go on with", responses), f"stage {stage.name!r}")


def _output(stage: Stage, responses: list[Response]) -> Any:
    chosen = responses if stage.output_filter is None else [one for one in responses if stage.output_filter(one)]
    if stage.output_transform is not None:
        return stage.output_transform(chosen)
    return "\n".join(response.text for response in chosen if response.success)
