"""Pools that are broken on purpose are found by the plans that find nothing in the pools as they are."""

from __future__ import annotations

import pytest
from mutation import Ground, Mutant, find
from seeds_to_find import MUTANTS_BY_GROUND

_MOST = 400  # plans; many more than it takes


@pytest.mark.leaks
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what a broken pool leaves behind
@pytest.mark.parametrize(("ground", "mutant"), MUTANTS_BY_GROUND, ids=[repr(mutant) for _, mutant in MUTANTS_BY_GROUND])
def test_the_hunt_finds_it(ground: Ground, mutant: Mutant) -> None:
    found = find(ground, mutant, _MOST)
    assert found is not None
    blamed = ground.attempt(found.number, found.plan)
    assert blamed is None, "the plan that finds it finds something in the pool as it is, too"
