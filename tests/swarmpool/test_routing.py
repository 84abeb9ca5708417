from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.agents import Agent
from swarmpool.endpoints import AgentEndpoint
from swarmpool.routing import Candidates, Key, LeastInFlight, Policy, PowerOfTwo, RoundRobin, Sticky, Weighted

POLICIES: list[type[Policy]] = [RoundRobin, LeastInFlight, PowerOfTwo, Weighted, Sticky]


def candidates(
    loads: list[int], *, unfit: Collection[int] = (), seed: int = 1, weights: list[str] | None = None
) -> Candidates:
    agents = []
    for place, load in enumerate(loads):
        tags = {} if weights is None else {"weight": weights[place]}
        agents.append(Agent(AgentEndpoint(f"node{place}", 8000, tags=tags), place))
        agents[-1].load = load
    return Candidates(agents, lambda place: place not in unfit, Random(seed))


@pytest.mark.parametrize("policy", POLICIES)
@given(size=st.integers(0, 12), unfit=st.sets(st.integers(0, 11)), seed=st.integers(0, 5))
def test_a_policy_chooses_a_fit_agent_whenever_there_is_one(
    policy: type[Policy], size: int, unfit: set[int], seed: int
) -> None:
    chosen = policy().choose(candidates([place % 3 for place in range(size)], unfit=unfit, seed=seed), "key")
    fit = set(range(size)) - unfit
    assert chosen in fit if fit else chosen is None


@pytest.mark.parametrize("policy", POLICIES)
def test_one_seed_gives_one_row_of_choices(policy: type[Policy]) -> None:
    def row(seed: int) -> list[int | None]:
        one, seen = policy(), candidates([1, 2, 1, 2, 1], seed=seed)
        return [one.choose(seen, number) for number in range(20)]

    assert row(3) == row(3)


def test_round_robin_takes_each_in_turn_and_passes_over_the_unfit() -> None:
    policy = RoundRobin()
    assert [policy.choose(candidates([0] * 3)) for _ in range(5)] == [0, 1, 2, 0, 1]
    assert [policy.choose(candidates([0] * 3, unfit={2})) for _ in range(3)] == [0, 1, 0]


def test_round_robin_goes_on_in_a_view_of_another_size() -> None:
    policy = RoundRobin()
    assert [policy.choose(candidates([0] * size)) for size in (5, 5, 2, 2, 5)] == [0, 1, 0, 1, 2]


def test_least_in_flight_takes_the_least_loaded() -> None:
    assert LeastInFlight().choose(candidates([3, 1, 2])) == 1
    assert LeastInFlight().choose(candidates([3, 1, 2], unfit={1})) == 2


def test_least_in_flight_spreads_among_equals() -> None:
    seen = candidates([0, 0, 5, 0])
    assert set(Counter(LeastInFlight().choose(seen) for _ in range(100))) == {0, 1, 3}


def test_power_of_two_never_takes_the_most_loaded() -> None:
    seen = candidates([9, 1, 2, 3])
    counts = Counter(PowerOfTwo().choose(seen) for _ in range(400))
    assert set(counts) == {1, 2, 3}
    assert counts[1] > counts[2] > counts[3]


def test_power_of_two_finds_the_one_that_is_fit_among_a_thousand() -> None:
    assert PowerOfTwo().choose(candidates([0] * 1000, unfit=set(range(1000)) - {421})) == 421


def test_power_of_two_is_nearly_even_where_chance_alone_is_not() -> None:
    seen = candidates([0] * 50)
    for _ in range(5000):
        place = PowerOfTwo().choose(seen)
        assert place is not None
        seen._agents[place].load += 1
    assert max(seen.load(place) for place in range(50)) <= 104  # 100 each; chance alone comes to some 125


def test_weights_decide_how_often() -> None:
    seen = candidates([0] * 3, weights=["1", "3", "0"])
    counts = Counter(Weighted().choose(seen) for _ in range(4000))
    assert set(counts) == {0, 1}
    assert 2.6 < counts[1] / counts[0] < 3.4


@pytest.mark.parametrize("text", ["heavy", "-1", "nan", "inf"])
def test_a_weight_that_is_none_is_named(text: str) -> None:
    expected = f"the tag weight of http://node1:8000 must be a number of at least 0, not '{text}'"
    with pytest.raises(ValueError, match=f"^{expected}$"):
        Weighted().choose(candidates([0, 0], weights=["1", text]))


def test_a_key_keeps_its_agent() -> None:
    policy = Sticky()
    assert len({policy.choose(candidates([load, 0, 9, 1]), "session 1") for load in range(10)}) == 1


def test_keys_are_spread() -> None:
    counts = Counter(Sticky().choose(candidates([0] * 10), f"session {number}") for number in range(2000))
    assert len(counts) == 10
    assert min(counts.values()) > 140


def test_an_agent_that_goes_away_moves_its_own_keys_only_and_they_come_back() -> None:
    def places(unfit: set[int]) -> list[int | None]:
        return [Sticky().choose(candidates([0] * 8, unfit=unfit), number) for number in range(400)]

    before, during = places(set()), places({3})
    assert {was for was, now in zip(before, during, strict=True) if was != now} == {3}
    assert len(set(during)) == 7
    assert places(set()) == before


def test_where_a_key_goes_is_the_same_in_every_process() -> None:
    keys: list[Key] = ["a", "b", b"a", 1, -1, "Grüße"]
    assert [Sticky().choose(candidates([0] * 100), key) for key in keys] == [40, 66, 11, 86, 12, 36]


def test_without_a_key_another_policy_decides() -> None:
    policy = Sticky(otherwise=LeastInFlight())
    assert policy.choose(candidates([2, 1, 0]), None) == 2


@pytest.mark.parametrize("key", [1.5, True, ("a",)])
def test_a_key_of_another_type_is_refused(key: object) -> None:
    with pytest.raises(TypeError, match=f"^key must be text, bytes or a whole number, not {type(key).__name__}$"):
        Sticky().choose(candidates([0]), key)  # type: ignore[arg-type]  # what is tested
