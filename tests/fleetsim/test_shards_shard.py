from __future__ import annotations

import pytest

from fleetsim.errors import ControlError, IllegalMoveError
from fleetsim.shards.shard import Shard, ShardState


async def test_a_shard_that_has_not_been_started_cannot_be_asked_and_may_be_ended() -> None:
    shard = Shard(3, range(8, 12))
    with pytest.raises(ControlError, match=r"shard 3 \(servers 8 to 11, process None\) is down, and cannot be asked"):
        await shard.call("figures")
    await shard.end()
    assert shard.state is ShardState.ENDED
    with pytest.raises(IllegalMoveError, match="shard 3 cannot go from ended to starting"):
        await shard.start({})
    assert shard.state is ShardState.ENDED


def test_its_servers_are_named_from_first_to_last() -> None:
    assert [Shard(0, servers).span for servers in (range(1), range(4, 6))] == ["server 0", "servers 4 to 5"]
