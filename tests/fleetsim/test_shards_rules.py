from __future__ import annotations

from typing import Any

import pytest
from shard_on_paper import ShardOnPaper

from fleetsim import Rule, RuleError
from fleetsim.errors import ControlError
from fleetsim.shards.rules import ShardedRules
from fleetsim.shards.shard import Shard, ShardState

TAGS = [{"rack": "a"}, {"rack": "a"}, {"rack": "b"}, {"rack": "b"}]


@pytest.fixture
def shards() -> list[ShardOnPaper]:
    return [ShardOnPaper(0, range(2)), ShardOnPaper(1, range(2, 4))]


@pytest.mark.parametrize(
    ("where", "homes"),
    [
        ({}, [0, 1]),
        ({"server": 1}, [0]),
        ({"server": [0, 3]}, [0, 1]),
        ({"tag": "rack=b"}, [1]),
    ],
)
def test_a_rule_is_at_home_where_its_servers_are(shards: list[Shard], where: dict[str, Any], homes: list[int]) -> None:
    rules = ShardedRules(shards, TAGS)
    assert [shard.number for shard in rules.homes(Rule.parse({"fault": "reset", "where": where}))] == homes


@pytest.mark.parametrize("words", [{"times": 2}, {"after": 2}, {"where": {"connection": 2}}])
def test_a_rule_that_counts_must_be_for_one_process(shards: list[Shard], words: dict[str, Any]) -> None:
    rules = ShardedRules(shards, TAGS)
    with pytest.raises(RuleError) as caught:
        rules.add(Rule.parse({"fault": "reset", **words}))
    assert str(caught.value).endswith(
        ": expected none for servers of several processes, which cannot count together, got 2;"
        " each process has its own: servers 0 to 1; servers 2 to 3"
    )
    narrowed = words.get("where", {}) | {"server": 3}
    assert rules.add(Rule.parse({"fault": "reset", **words, "where": narrowed})) == 1


def test_a_rule_for_no_server_is_refused(shards: list[Shard]) -> None:
    with pytest.raises(RuleError, match="where: expected one of servers 0 to 3, got server=4, tag='rack'"):
        ShardedRules(shards, TAGS).add(Rule.parse({"fault": "reset", "where": {"server": 4, "tag": "rack"}}))


async def test_counts_are_summed_over_the_homes(shards: list[ShardOnPaper]) -> None:
    rules = ShardedRules(shards, TAGS)
    whole = {"number": 1, "fault": "reset", "armed": 2, "fired": 1, "over": False}
    assert await rules.arm(Rule.parse("reset")) == whole
    part = {"number": 2, "fault": "reset", "where": {"server": 0}, "armed": 1, "fired": 0, "over": True}
    assert await rules.arm(Rule.parse({"fault": "reset", "where": {"server": 0}})) == part
    assert [shard.numbers for shard in shards] == [[1, 2], [1]]
    assert await rules.accounts() == [whole, part]
    assert (await rules.remove(1), await rules.remove(1)) == (whole, None)
    assert (await rules.clear(), await rules.clear()) == (1, 0)


async def test_what_is_armed_is_given_to_a_shard_that_starts_with_the_time_that_is_left(shards: list[Shard]) -> None:
    rules = ShardedRules(shards, TAGS)
    rules.add(Rule.parse("reset"))
    rules.add(Rule.parse({"fault": "reset", "for": "1h", "where": {"server": 3}}))
    rules.add(Rule.parse({"fault": "reset", "for": 1e-9}))
    assert [each["number"] for each in rules.for_start(shards[0])] == [1]
    left = rules.for_start(shards[1])
    assert [each["number"] for each in left] == [1, 2]
    assert 3000 < left[1]["rule"]["for"] <= 3600


async def test_shards_that_are_gone_are_passed_over_until_none_is_left(shards: list[ShardOnPaper]) -> None:
    rules = ShardedRules(shards, TAGS)
    shards[0].state = ShardState.LOST
    assert (await rules.arm(Rule.parse("reset")))["armed"] == 1
    assert (shards[0].calls, shards[1].calls) == ([], ["arm"])
    with pytest.raises(ControlError, match=r"shard 0 \(servers 0 to 1, process None\): expected one that serves"):
        await rules.arm(Rule.parse({"fault": "reset", "where": {"server": 1}}))
    assert len(await rules.accounts()) == 1
