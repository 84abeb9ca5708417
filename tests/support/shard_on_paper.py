"""A shard without a process."""

from __future__ import annotations

from typing import Any

from fleetsim.shards.shard import Shard, ShardState

__all__ = ["ShardOnPaper"]


class ShardOnPaper(Shard):
    """It serves, notes its calls, and every rule has been meant for one occasion."""

    def __init__(self, number: int, servers: range) -> None:
        super().__init__(number, servers)
        self.state = ShardState.SERVING
        self.calls: list[str] = []
        self.numbers: list[int] = []

    async def call(self, name: str, **words: Any) -> Any:
        self.calls.append(name)
        if name == "arm":
            self.numbers.append(words["number"])
        elif name == "rules":
            return [self.account(number) for number in self.numbers]
        return self.account(words.get("number", 0))

    def account(self, number: int) -> dict[str, Any]:
        return {"number": number, "fault": "reset", "armed": 1, "fired": self.number, "over": self.number == 0}
