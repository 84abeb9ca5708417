"""How many plans it takes to find each mutant: writes the table in docs/mutants.md.

python tests/support/seeds_to_find.py             # takes about a minute, and writes the page
python tests/support/seeds_to_find.py SemLost     # prints the line of one, and its small plan
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import hunt
from hunt.mutants import AGENT_POOL_MUTANTS, VLLM_POOL_MUTANTS
from mutation import Find, Ground, Mutant, find, shrunk
from websocket_hunt import drawing, hunting
from websocket_hunt.mutants import MUTANTS

__all__ = ["MOST", "MUTANTS_BY_GROUND"]

MOST = 2_000
"""Plans within which each is to be found."""

_PAGE = Path(__file__).parents[2] / "docs" / "mutants.md"
_HEAD = """\
# Mutants

What the hunts of `tests/simulation` are worth: pools broken on purpose, and how many of the plans that the tests play
with the pools as they are it takes to find each. Plans are drawn by turns at random and with contention. The plan that
finds a mutant finds nothing in the pool as it is, and the tests see to that, too. Seconds are of the machine that this
page was made on, by `python tests/support/seeds_to_find.py`; a small plan is what is left of the one that found it when
nothing more can be left out.

| pool | broken so that | plans to find it | seconds | steps of a small plan |
| --- | --- | --- | --- | --- |
"""


Sort = tuple[Callable[[Random], Any], dict[str, Any]]


def _by_turns(name: str, attempt: Callable[..., BaseException | None], *sorts: Sort) -> Ground:
    """Plans of each sort by turns, each in the world that it is meant for."""

    def draw(number: int) -> Any:
        seed, sort = divmod(number, len(sorts))
        return hunt.plan_of(sorts[sort][0], seed)

    def play(number: int, plan: Any) -> BaseException | None:
        seed, sort = divmod(number, len(sorts))
        return attempt(plan, seed, **sorts[sort][1])

    return Ground(name, draw, play)


_SORTS = ((hunt.draw_random, hunt.CALM), (hunt.draw_contended, hunt.CONTENDED))
_AGENTS = _by_turns("AgentPool", partial(hunt.attempt, hunt.AGENT_POOL), *_SORTS)
_VLLM = _by_turns("VLLMPool", partial(hunt.attempt, hunt.VLLM_POOL), *_SORTS)
_WEBSOCKETS = _by_turns(
    "ConnectionPool",
    hunting.attempt,
    (drawing.draw_random, hunting.LOOSE),
    (drawing.draw_contended, hunting.FINE),
    (drawing.draw_contended, hunting.COARSE),
)
MUTANTS_BY_GROUND: list[tuple[Ground, Mutant]] = [
    *((_AGENTS, mutant) for mutant in AGENT_POOL_MUTANTS),
    *((_VLLM, mutant) for mutant in VLLM_POOL_MUTANTS),
    *((_WEBSOCKETS, mutant) for mutant in MUTANTS),
]


def _line(ground: Ground, mutant: Mutant, found: Find | None) -> str:
    if found is None:
        return f"| {mutant.name} ({ground.name}) | {mutant.what} | not within {MOST:,} | | |"
    small = shrunk(ground, mutant, found)
    cells = [f"{mutant.name} ({ground.name})", mutant.what, found.number + 1, f"{found.seconds:.1f}", len(small)]
    return f"| {' | '.join(map(str, cells))} |"


def _show(ground: Ground, mutant: Mutant) -> None:
    found = find(ground, mutant, MOST)
    print(_line(ground, mutant, found))
    if found is not None:
        print(f"{type(found.error).__name__}: {found.error}")
        for step in shrunk(ground, mutant, found):
            print(f"    {step!r}")


def main(names: list[str]) -> None:
    """Show the mutants of those names, or write the page."""
    logging.disable()  # of what a broken pool has to say, and leaves behind
    sys.unraisablehook = lambda _: None
    for ground, mutant in MUTANTS_BY_GROUND:
        if mutant.name in names:
            _show(ground, mutant)
    if not names:
        lines = [_line(ground, mutant, find(ground, mutant, MOST)) for ground, mutant in MUTANTS_BY_GROUND]
        _PAGE.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")
        print(_PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
