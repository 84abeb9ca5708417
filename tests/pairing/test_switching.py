"""A program that was written for Aurora Swarm runs when `aurora_swarm` in its imports becomes `swarmpool`."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fleetsim import Fleet

PROGRAM = """
from aurora_swarm import AgentEndpoint, AgentPool, Response, parse_hostfile
from aurora_swarm.aggregators import best_of, concat, failure_report, majority_vote, statistics, structured_merge, top_k
from aurora_swarm.embedding_pool import EmbeddingPool, EmbeddingResponse
from aurora_swarm.hostfile import AgentEndpoint as Endpoint
from aurora_swarm.patterns.blackboard import Blackboard
from aurora_swarm.patterns.broadcast import broadcast, broadcast_and_reduce
from aurora_swarm.patterns.embedding import scatter_gather_embeddings
from aurora_swarm.patterns.pipeline import Stage, fan_out_fan_in, run_pipeline
from aurora_swarm.patterns.scatter_gather import map_gather, scatter_gather
from aurora_swarm.patterns.tree_reduce import tree_reduce
from aurora_swarm.pool import AgentPool as Pool, Response as Answer
from aurora_swarm.vllm_pool import VLLMPool

assert Endpoint is AgentEndpoint and Pool is AgentPool and Answer is Response


async def main(hostfile):
    endpoints = parse_hostfile(hostfile)
    assert all(isinstance(endpoint, AgentEndpoint) for endpoint in endpoints)
    found = {}
    async with AgentPool(endpoints, concurrency=8, connector_limit=16, timeout=60.0) as pool:
        found["size"] = (pool.size, pool.by_tag("role", "ideas").size, pool.sample(2).size, pool.slice(0, 3).size)
        found["plain"] = (await pool.select([2]).post(0, "hello")).success
    async with VLLMPool(
        endpoints, model="sim", max_tokens=8, max_tokens_aggregation=16, model_max_context=4096, buffer=64,
        concurrency=8, connector_limit=16, timeout=60.0, use_batch=True, batch_concurrency=4,
    ) as pool:
        opinions = await broadcast(pool, prompt="Is it?")
        assert all(isinstance(opinion, Response) and opinion.success for opinion in opinions)
        found["opinions"] = [opinion.agent_index for opinion in opinions]
        answers = await scatter_gather(pool, ["a", "b", "c", "d", "e"])
        found["answers"] = [answer.agent_index for answer in answers]
        found["mapped"] = len(await map_gather(pool, items=[1, 2, 3], prompt_template="Say {item}"))
        found["batched"] = len(await pool.send_all_batched(["a", "b", "c"]))
        reduced = await broadcast_and_reduce(pool, prompt="Is it?", reduce_prompt="{responses}", reducer_agent_index=1)
        found["reduced"] = (reduced.success, reduced.error, reduced.agent_index)
        tree = await tree_reduce(pool, "About {item}", "{level}: {responses}", fanin=2, items=list("abcde"))
        found["tree"] = tree.success and bool(tree.text)
        gathered = await fan_out_fan_in(pool, prompt="Go", collect_prompt="{responses}", n_workers=3)
        found["gathered"] = gathered.success
        stages = [
            Stage(name="one", prompt_template="1 {input}", n_agents=2, output_filter=lambda answer: answer.success),
            Stage(name="two", prompt_template="2 {input}", n_agents=1, output_transform=lambda answers: len(answers)),
        ]
        found["stages"] = await run_pipeline(pool, stages, "in", reuse_agents=False)
        board = Blackboard(sections=["ideas", "doubts"], prompt_fn=lambda role, board: f"{role} {len(board)}")
        texts = await board.run(pool, max_rounds=5, convergence_fn=lambda board: len(board["ideas"]) > 2)
        found["board"] = (board.round, len(texts["ideas"]), board.snapshot()["round"])
    embedding = EmbeddingPool(endpoints, model="sim", concurrency=4, timeout=10.0)
    vectors = await scatter_gather_embeddings(embedding, ["a", "b", "c", "d", "e", "f"])
    assert all(isinstance(vector, EmbeddingResponse) and vector.success for vector in vectors)
    found["vectors"] = [vector.agent_index for vector in vectors]
    found["lengths"] = {len(vector.embedding) for vector in vectors}
    await embedding.close()
    votes = [Response(success=True, text=text, agent_index=place) for place, text in enumerate(["1", "2 ", "1"])]
    failed = Response(success=False, text="", error="down", agent_index=3)
    found["vote"] = majority_vote([*votes, failed])
    found["concat"] = concat(votes, separator=",")
    found["best"] = best_of(votes, score_fn=lambda vote: float(vote.text)).agent_index
    found["top"] = [vote.agent_index for vote in top_k(votes, k=2, score_fn=lambda vote: float(vote.text))]
    found["merged"] = structured_merge(votes)
    found["figures"] = statistics(votes)["median"]
    found["report"] = failure_report([*votes, failed])
    return found
"""


async def test_the_program_runs_and_finds_what_it_found(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(PROGRAM.replace("aurora_swarm", "swarmpool"), "program", "exec"), names)
    main: Callable[[str], Coroutine[Any, Any, dict[str, Any]]] = names["main"]
    async with Fleet(4, seed=1) as fleet:
        hostfile = tmp_path / "agents.hostfile"
        roles = ["ideas", "doubts", "ideas", "nobody"]
        lines = [f"{one.host}:{one.port} role={role}" for one, role in zip(fleet.endpoints, roles, strict=True)]
        hostfile.write_text("# agents\n\n" + "\n".join(lines))
        found = await main(str(hostfile))
        fleet.assert_all_closed(within="5s")
    assert found == {
        "size": (4, 2, 2, 3),
        "plain": True,
        "opinions": [0, 1, 2, 3],
        "answers": [0, 1, 2, 3, 0],
        "mapped": 3,
        "batched": 3,
        "reduced": (True, None, 1),
        "tree": True,
        "gathered": True,
        "stages": 1,
        "board": (2, 4, 2),
        "vectors": [0, 1, 2, 3, 0, 1],
        "lengths": {384},
        "vote": ("1", 2 / 3),
        "concat": "1,2 ,1",
        "best": 1,
        "top": [1, 0],
        "merged": ([1, 2, 1], []),
        "figures": 1.0,
        "report": json.loads(
            '{"total": 4, "success_count": 3, "failure_count": 1, "failures": [{"agent_index": 3, "error": "down"}]}'
        ),
    }
