"""How many plans it takes to find each mutant: writes the table in docs/mutants.md.

python tests/support/seeds_to_find.py             # takes about a minute, and writes the page
python tests/support/seeds_to_find.py SemLost     # prints the line of one, and its small plan
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
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


def _by_turns(name: str, kind: hunt.Kind) -> Ground:
    sorts: list[tuple[Callable[[Random], Any], dict[str, Any]]] = [
        (hunt.draw_random, hunt.CALM),
        (hunt.draw_contended, hunt.CONTENDED),
    ]

    def draw(number: int) -> Any:
        return sorts[number % 2][0](Random(f"plan {number // 2}"))

    def attempt(number: int, plan: Any) -> BaseException | None:
        return hunt.attempt(kind, plan, number // 2, **sorts[number % 2][1])

    return Ground(name, draw, attempt)


def _draw(number: int) -> Any:
    draw = drawing.draw_contended if number % 2 else drawing.draw_random
    return draw(Random(f"plan {number // 2}"))


_WEBSOCKETS = Ground("ConnectionPool", _draw, lambda number, plan: hunting.attempt(tuple(plan), number // 2))
MUTANTS_BY_GROUND: list[tuple[Ground, Mutant]] = [
    *((_by_turns("AgentPool", hunt.AGENT_POOL), mutant) for mutant in AGENT_POOL_MUTANTS),
    *((_by_turns("VLLMPool", hunt.VLLM_POOL), mutant) for mutant in VLLM_POOL_MUTANTS),
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
    logging.disable()  # of what a broken pool has to say
    for ground, mutant in MUTANTS_BY_GROUND:
        if mutant.name in names:
            _show(ground, mutant)
    if not names:
        lines = [_line(ground, mutant, find(ground, mutant, MOST)) for ground, mutant in MUTANTS_BY_GROUND]
        _PAGE.write_text(_HEAD + "\n".join(lines) + "\n", encoding="utf-8")
        print(_PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
