from __future__ import annotations

from shard_on_paper import ShardOnPaper

from fleetsim.shards.driven import DrivenShards
from fleetsim.shards.ledger import ShardedLedger
from fleetsim.shards.rules import ShardedRules
from fleetsim.shards.shard import ShardState


async def test_servers_whose_process_is_gone_are_dead_and_their_requests_are_not_known() -> None:
    shards = [ShardOnPaper(0, range(1)), ShardOnPaper(1, range(1, 3))]
    for shard in shards:
        shard.state = ShardState.LOST
    urls, tags = [f"http://127.0.0.1:{8000 + index}" for index in range(3)], [{"n": str(index)} for index in range(3)]
    ledger = ShardedLedger(shards, lambda server: shards[server > 0])
    driven = DrivenShards(shards, ledger, ShardedRules(shards, [{}] * 3), lambda: urls, tags)
    assert len(driven) == 3
    assert (await driven.servers())[2] == {
        "index": 2,
        "url": "http://127.0.0.1:8002",
        "state": "dead",
        "tags": {"n": "2"},
        "open_now": 0,
        "in_flight": 0,
        "requests": None,
    }
    assert (await driven.figures())["opened"] == 0
