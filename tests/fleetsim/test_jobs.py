from __future__ import annotations

import pytest

from fleetsim.engine import Engine, Generation, Job, LatencyEngine
from fleetsim.profile import Profile

ENGINES: dict[str, Engine] = {
    "instant": LatencyEngine(Profile()),
    "timed": LatencyEngine(Profile(ttft=0.001, itl=0.0001, prefill_per_token=0.0001)),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


@pytest.mark.parametrize("lengths", [[1], [300], [3, 1, 2], [200, 200]], ids=str)
async def test_each_job_gets_its_tokens_and_no_more(engine: Engine, lengths: list[int]) -> None:
    generation: Generation = engine.generate([Job(index, length) for index, length in enumerate(lengths)])
    seen = [0] * len(lengths)
    async for batch in generation:
        assert batch
        for index in batch:
            seen[index] += 1
    assert seen == lengths
    with pytest.raises(StopAsyncIteration):
        await anext(generation.__aiter__())


async def test_nothing_is_left_after_finish(engine: Engine) -> None:
    generation = engine.generate([Job(1, 5), Job(1, 2)])
    await generation.finish()
    assert [batch async for batch in generation] == []
