"""Agents that read what all have written, and write to their own section, round after round."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from swarmpool.errors import EmptyPool, MisuseError
from swarmpool.options import count, text
from swarmpool.patterns.steps import Manner, checked_items, placed
from swarmpool.progress import ProgressCallback
from swarmpool.responses import Response

if TYPE_CHECKING:
    from swarmpool.pool import AgentPool

__all__ = ["Blackboard"]

Board = dict[str, list[str]]


class Blackboard:
    """Sections of texts. In each round the agents whose tag `role` is a section's name add their answers to it.

    `prompt_fn(section, board)` makes the prompt for the agents of a section from all that is on the board by then;
    sections take their turns in the order they are given, so that later ones read what earlier ones wrote in the same
    round. A section without agents is only read: text may be put there by `board["facts"].append(...)`.
    """

    def __init__(self, sections: Iterable[str], prompt_fn: Callable[[str, Board], str]) -> None:
        names = [text("a section", name) for name in checked_items("sections", sections)]
        if len(set(names)) < len(names):
            raise ValueError(f"sections must have different names, not {names!r}")
        if not callable(prompt_fn):
            raise TypeError(f"prompt_fn must be a function of a section's name and the board, not {prompt_fn!r}")
        self._board: Board = {name: [] for name in names}
        self._prompt_fn = prompt_fn
        self._round = 0
        self._failures: list[Response] = []
        self._unserved: tuple[str, ...] = ()
        self._running = False

    @property
    def board(self) -> Board:
        """The texts of each section: the board itself, not a copy."""
        return self._board

    @property
    def round(self) -> int:
        """Rounds that were completed, of all runs."""
        return self._round

    @property
    def failures(self) -> tuple[Response, ...]:
        """The failed requests of all runs, in order; the error of each begins with its round and section."""
        return tuple(self._failures)

    @property
    def unserved(self) -> tuple[str, ...]:
        """The sections that no agent had as its role in the last run."""
        return self._unserved

    def snapshot(self) -> dict[str, Any]:
        """`round`, and `board` as a deep copy."""
        return {"round": self._round, "board": copy.deepcopy(self._board)}

    async def run(
        self,
        pool: AgentPool,
        max_rounds: int = 10,
        convergence_fn: Callable[[Board], object] | None = None,
        *,
        progress: ProgressCallback | None = None,
        max_tokens: int | None = None,
        **sampling: Any,
    ) -> Board:
        """Go on for `max_rounds` more rounds, or until `convergence_fn(board)` is true after one; return the board.

        Steps of its progress: `round 1, section 'critics'` and so on. If it is cancelled, or what it calls raises, the
        board has all but the section that was under way, and the round does not count. Raises `EmptyPool` if no section
        has an agent, and MisuseError if it runs already. The rest: see `swarmpool.patterns`.
        """
        count("max_rounds", max_rounds, at_least=0)
        manner = Manner(progress, max_tokens, sampling=sampling)
        views = self._views(pool)
        if self._running:
            raise MisuseError("this blackboard runs already; its rounds come one after the other")
        self._running = True
        try:
            for _ in range(max_rounds):
                await self._play(manner, views)
                if convergence_fn is not None and convergence_fn(self._board):
                    break
        finally:
            self._running = False
        return self._board

    def _views(self, pool: AgentPool) -> dict[str, AgentPool]:
        views = {section: view for section in self._board if (view := pool.by_tag("role", section)).size}
        if self._board and not views:
            raise EmptyPool(f"no agent of this view has one of the sections {list(self._board)} as its tag 'role'")
        self._unserved = tuple(section for section in self._board if section not in views)
        return views

    async def _play(self, manner: Manner, views: dict[str, AgentPool]) -> None:
        """One round."""
        for section, view in views.items():
            step = f"round {self._round + 1}, section {section!r}"
            answers = await manner.ask_each(view, self._prompt_fn(section, self._board), step)
            self._board[section] += [answer.text for answer in answers if answer.success]
            self._failures += [placed(answer, step) for answer in answers if not answer.success]
        self._round += 1
