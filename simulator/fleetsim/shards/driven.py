"""A fleet over several processes, as it is driven from outside: each question goes to the shards that can answer it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from fleetsim.control.driven import Described
from fleetsim.faults.rules import Rule
from fleetsim.faults.scripts import ScriptRule
from fleetsim.server import ServerState
from fleetsim.shards.ledger import ShardedLedger
from fleetsim.shards.rules import ShardedRules
from fleetsim.shards.shard import Shard, ShardState
from fleetsim.shards.together import together

__all__ = ["DrivenShards"]


class DrivenShards:
    """`shards` as a `Driven`. `urls` and `tags` are those of all servers, from the first shard's first on."""

    def __init__(
        self,
        shards: Sequence[Shard],
        ledger: ShardedLedger,
        rules: ShardedRules,
        urls: Callable[[], Sequence[str]],
        tags: Sequence[Mapping[str, str]],
    ) -> None:
        self._shards, self._ledger, self._rules = shards, ledger, rules
        self._urls, self._tags = urls, tags

    def __len__(self) -> int:
        return sum(len(shard.servers) for shard in self._shards)

    async def servers(self) -> list[Described]:
        """Those of a shard that is gone are dead, and nobody knows their `requests`: None."""
        listed = await together(self._servers(shard) for shard in self._shards)
        return [server for servers in listed for server in servers]

    async def _servers(self, shard: Shard) -> list[Described]:
        if shard.state is ShardState.SERVING:
            answered: list[Described] = await shard.call("servers")
            return answered
        urls, first = self._urls(), self._shards[0].servers[0]
        return [
            {
                "index": index,
                "url": urls[index - first],
                "state": ServerState.DEAD.value,
                "tags": dict(self._tags[index - first]),
                "open_now": 0,
                "in_flight": 0,
                "requests": None,
            }
            for index in shard.servers
        ]

    async def figures(self, server: int | None = None) -> Described:
        if server is None:
            return dataclasses.asdict(await self._ledger.snapshot())
        return dataclasses.asdict(await self._ledger.snapshot_of(server))

    async def rules(self) -> list[Described]:
        return await self._rules.accounts()

    async def arm(self, rule: Rule | ScriptRule) -> Described:
        return await self._rules.arm(rule)

    async def remove(self, number: int) -> Described | None:
        return await self._rules.remove(number)

    async def clear(self) -> int:
        return await self._rules.clear()
