"""Where somebody is better than we are: every comparison of a run in which ours is not the best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loadtests.bench.peers.results import FIGURES, Cell, Figure, Results
from loadtests.bench.peers.spread import Spread

__all__ = ["OURS", "START", "Comparison", "comparisons"]

OURS = {"client": "swarmpool", "server": "fleetsim"}
START = Figure("Start-up", "s", "both")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Our figure beside the best of the others', all else equal.

    `side`: "client" or "server", which of ours it is; `agents`: None for an import; `against`: the other side's name,
    empty for a start. `best`: None where nobody else was measured, or none without a failure.
    """

    side: str
    figure: Figure
    agents: int | None
    against: str
    ours: Spread
    best: Spread | None
    who: str

    @property
    def lost(self) -> bool:
        """Whether somebody's median is better."""
        if self.best is None:
            return False
        return self.best.middle > self.ours.middle if self._higher else self.best.middle < self.ours.middle

    @property
    def noise(self) -> bool:
        """Whether the quartiles overlap, so that the order may be another in the next run."""
        return self.best is not None and self.ours.overlaps(self.best)

    @property
    def factor(self) -> float | None:
        """How many times better the best is; None where its figure or ours is 0."""
        if self.best is None or not self.ours.middle or not self.best.middle:
            return None
        ratio = self.ours.middle / self.best.middle
        return 1 / ratio if self._higher else ratio

    @property
    def _higher(self) -> bool:
        return self.figure.higher_is_better


def comparisons(results: Results) -> list[Comparison]:
    """All there are, of our client and of our server, in the order of the figures."""
    return [each for side in OURS for each in (*_of_cells(results, side), *_of_starts(results, side))]


def _of_cells(results: Results, side: str) -> Iterator[Comparison]:
    groups: dict[tuple[int, str], dict[str, Cell]] = defaultdict(dict)
    for cell in results.cells:
        mine, other = (cell.client, cell.server) if side == "client" else (cell.server, cell.client)
        groups[cell.agents, other][mine] = cell
    for name, figure in FIGURES.items():
        if figure.of not in (side, "both"):
            continue
        for (agents, against), cells in groups.items():
            if OURS[side] in cells:
                # Who failed has not done the same work.
                others = {who: cell.figures[name] for who, cell in cells.items() if not cell.failures}
                yield _compared(side, figure, agents, against, cells[OURS[side]].figures[name], others)


def _of_starts(results: Results, side: str) -> Iterator[Comparison]:
    for agents in (None, *results.sizes()):
        starts = {start.name: start.seconds for start in results.starts if (start.of, start.agents) == (side, agents)}
        if OURS[side] in starts:
            yield _compared(side, START, agents, "", starts[OURS[side]], starts)


def _compared(
    side: str, figure: Figure, agents: int | None, against: str, ours: Spread, all_of_them: Mapping[str, Spread]
) -> Comparison:
    others = {who: spread for who, spread in all_of_them.items() if who != OURS[side]}
    choose = max if figure.higher_is_better else min
    who = choose(others, key=lambda each: others[each].middle, default="")
    return Comparison(side, figure, agents, against, ours, others.get(who), who)
