"""The pattern is the pool's own method by another name."""

from __future__ import annotations

from fleetsim import Fleet
from swarmpool import EmbeddingPool
from swarmpool.patterns.embedding import scatter_gather_embeddings
from swarmpool.progress import Progress


async def test_texts_go_to_the_agents_in_turn_and_vectors_come_in_their_order() -> None:
    seen: list[Progress] = []
    async with Fleet(2) as fleet, EmbeddingPool(fleet.endpoints) as pool:
        responses = await scatter_gather_embeddings(pool, ["a", "b", "c"], progress=seen.append, dimensions=3)
        assert [response.agent_index for response in responses] == [0, 1, 0]
        assert [len(response.unwrap()) for response in responses] == [3, 3, 3]
        assert responses[1].embedding == (await pool.embed_one(0, "b", dimensions=3)).embedding
    assert seen[-1] == Progress("embed", 3, 3, 0)
