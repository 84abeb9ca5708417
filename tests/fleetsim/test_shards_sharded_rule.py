from __future__ import annotations

from shard_on_paper import ShardOnPaper

from fleetsim import Rule, RuleAccount
from fleetsim.shards.rules import ShardedRules
from fleetsim.shards.sharded_rule import ShardedRule


async def test_its_account_is_there_until_it_is_left() -> None:
    rules = ShardedRules([ShardOnPaper(0, range(2)), ShardOnPaper(1, range(2, 4))], [{}] * 4)
    made = Rule.parse("reset")
    async with ShardedRule(made, (await rules.arm(made))["number"], rules) as rule:
        assert await rule.account() == RuleAccount(armed=2, fired=1, over=False)
        assert repr(rule) == "<ShardedRule 1 reset>"
    assert await rule.account() is None
    assert await rule.remove() is None
