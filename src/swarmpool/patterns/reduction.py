"""`Reduction`: an answer made of many answers, and what is missing from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from swarmpool.aggregators import nothing_succeeded
from swarmpool.errors import EmptyPool
from swarmpool.patterns.steps import Manner, fill
from swarmpool.responses import Response

if TYPE_CHECKING:
    from swarmpool.pool import AgentPool

__all__ = ["Reduction", "joined", "reduce_once", "reducer_of", "reduction"]

_SEPARATOR = "\n---\n"


@dataclass(slots=True)
class Reduction(Response):
    """The `Response` of the last request of a pattern that merges answers.

    `asked` counts the requests whose answers were to be merged, `covered` those whose answers are in `text` (0 if it
    failed), and `failures` are the failed requests below the last: answers that were not given, and groups of answers
    that were not merged, whose `error` says how many answers went with them.
    """

    failures: tuple[Response, ...] = ()
    asked: int = 0
    covered: int = 0

    @property
    def complete(self) -> bool:
        """Whether every answer that was asked for is in `text`."""
        return self.success and self.covered == self.asked


def reduction(last: Response, failures: Sequence[Response], *, asked: int, covered: int) -> Reduction:
    """What `last` says, and what is missing from it."""
    facts = {field.name: getattr(last, field.name) for field in fields(Response)}
    return Reduction(**facts, failures=tuple(failures), asked=asked, covered=covered if last.success else 0)


def joined(answers: Sequence[Response]) -> str:
    """The texts as they stand in a prompt that is to merge them."""
    return _SEPARATOR.join(answer.text for answer in answers)


def reducer_of(pool: AgentPool, agent_index: int) -> AgentPool:
    """The view of the one agent that is to merge. Raises `EmptyPool` and `BadIndex` before anything is sent."""
    if not pool.size:
        raise EmptyPool("this view has no agents")
    return pool.select([agent_index])


async def reduce_once(
    manner: Manner, answers: Sequence[Response], reducer: AgentPool, agent_index: int, template: str, step: str
) -> Reduction:
    """Have `reducer` merge what there is of `answers` by one request; none is sent if there is nothing."""
    good = [answer for answer in answers if answer.success]
    failures = [answer for answer in answers if not answer.success]
    if good:
        [last] = await manner.aggregate(reducer, [fill(template, responses=joined(good))], step)
        last = replace(last, agent_index=agent_index, prompt_index=None)
    else:
        last = nothing_succeeded("to merge", answers)
    return reduction(last, failures, asked=len(answers), covered=len(good))
