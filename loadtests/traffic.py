"""What a load asks: prompts, agents and pauses, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from faker import Faker

__all__ = ["Traffic"]

_PROMPTS = 512


class Traffic:
    """An endless supply of prompts and choices for one user of a load: the same for the same `seed` and `user`."""

    def __init__(self, seed: int, user: int = 0) -> None:
        self.chance = random.Random(f"{seed}/{user}")
        self._prompts = _prompts(seed)

    def prompt(self) -> str:
        """One question of a few sentences."""
        return self.chance.choice(self._prompts)

    def prompts(self, number: int) -> list[str]:
        """So many of them."""
        return self.chance.choices(self._prompts, k=number)

    def agent(self, agents: Sequence[object]) -> int:
        """The index of one of `agents`."""
        return self.chance.randrange(len(agents))


@lru_cache(maxsize=4)
def _prompts(seed: int) -> tuple[str, ...]:
    """Made once for all users: faker is too slow to be asked for each request."""
    words = Faker("en_US", use_weighting=False)
    words.seed_instance(seed)
    return tuple(f"{words.name()} of {words.city()} asks: {words.paragraph(nb_sentences=3)}" for _ in range(_PROMPTS))
