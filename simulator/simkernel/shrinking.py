"""From a plan that fails to a small one that fails too.

A plan is a sequence of steps, and any part of it in its order is one as well. `shrink` is delta debugging (Zeller and
Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) by complements: it leaves out half of the steps,
then quarters, eighths, at last single ones, and goes on from whatever still fails. Its subsets are left out, for they
find little that complements do not. It goes from the last step to the first: what a step follows stays as it was.

What it guarantees: the result fails, or is what was given. If the tries sufficed, no single step can be left out of it,
nor be replaced by one of its simpler versions; a smaller plan may exist that needs two left out at once. No plan is
asked about twice, by the equality of its steps, and the same questions get the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

__all__ = ["shrink"]

S = TypeVar("S")

Simpler = Callable[[S], Iterable[S]]


def shrink(
    steps: Sequence[S], fails: Callable[[list[S]], bool], *, tries: int = 500, simpler: Simpler[S] | None = None
) -> list[S]:
    """Return a smallest plan that still fails, found in at most `tries` calls of `fails`.

    `steps` is taken to fail and not asked about. `fails(plan)` gets a list of its own and is to answer the same each
    time; what it raises ends the search. `simpler(step)` offers versions of one step that are easier to read, the
    simplest first; the first that still fails takes its place and is asked for simpler ones itself. Raises ValueError
    for `tries` below 0.
    """
    if tries < 0:
        raise ValueError(f"tries={tries!r}: expected a whole number of at least 0")
    search = _Search(steps, fails, tries)
    if search.goes_on([]):
        return search.best
    search.leave_out()
    while simpler is not None and search.simplify(simpler):
        search.leave_out()  # what is simpler may need less
    return search.best


class _Search(Generic[S]):
    """The smallest plan so far, and what has been asked."""

    def __init__(self, steps: Sequence[S], fails: Callable[[list[S]], bool], tries: int) -> None:
        self.best = list(steps)
        self._fails = fails
        self._left = tries
        self._asked: dict[int, list[list[S]]] = {len(self.best): [self.best]}

    def goes_on(self, plan: list[S]) -> bool:
        """Whether the plan is new and fails: then the search goes on from it."""
        asked = self._asked.setdefault(len(plan), [])
        if self._left == 0 or plan in asked:
            return False
        self._left -= 1
        asked.append(plan)
        if not self._fails(list(plan)):
            return False
        self.best = plan
        return True

    def leave_out(self) -> None:
        """Leave out what can be: ever smaller parts, and single steps until none can go."""
        size = len(self.best) // 2
        while size > 1:
            self._leave_out_parts(size)
            size //= 2
        while self._leave_out_parts(1):
            pass

    def _leave_out_parts(self, size: int) -> bool:
        """Ask about leaving out each part of this size, the last one first. Whether any went."""
        before = end = len(self.best)
        while end > 0:
            start = max(0, end - size)
            self.goes_on(self.best[:start] + self.best[end:])
            end = start
        return len(self.best) < before

    def simplify(self, simpler: Simpler[S]) -> bool:
        """Put a simpler version in the place of each step that has one which fails too. Whether any was."""
        before = self.best
        for place in range(len(before)):
            while self._simplify_one(place, simpler):
                pass
        return self.best is not before

    def _simplify_one(self, place: int, simpler: Simpler[S]) -> bool:
        best = self.best
        return any(self.goes_on([*best[:place], step, *best[place + 1 :]]) for step in simpler(best[place]))
