from __future__ import annotations

import pytest

from fleetsim.engine import AbortedError, EngineDeadError, EngineHaltedError, Halt, HaltedEngine, Job, PausedError

JOBS = [Job(1, 2), Job(1, 3)]


@pytest.mark.parametrize(("halt", "error"), [(Halt.DEAD, EngineDeadError), (Halt.ASLEEP, PausedError)])
def test_a_dead_engine_and_one_asleep_begin_nothing(halt: Halt, error: type[EngineHaltedError]) -> None:
    with pytest.raises(error):
        HaltedEngine(halt).generate(JOBS)


@pytest.mark.parametrize("halt", [Halt.ABORTING, Halt.DRAINING])
async def test_an_engine_that_is_to_finish_aborts_what_comes_before_its_first_token(halt: Halt) -> None:
    with pytest.raises(AbortedError) as caught:
        await HaltedEngine(halt).generate(JOBS).finish()
    assert caught.value.said == {0: 0, 1: 0}
    with pytest.raises(AbortedError):
        await anext(aiter(HaltedEngine(halt).generate(JOBS)))
