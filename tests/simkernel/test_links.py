from __future__ import annotations

import random

import pytest

from simkernel.links import Effect, Link, Target
from simkernel.settings import Settings

HERE, ELSEWHERE = ("10.0.0.1", 80), ("10.0.0.2", 80)
HOST = Target(frozenset({"10.0.0.1"}))


def link(*effects: Effect) -> Link:
    made = Link(HERE, Settings(latency=0.1, jitter=0.0, bandwidth=100))
    made.work_out(effects)
    return made


def test_a_target_covers_its_addresses_and_ports() -> None:
    assert HOST.covers(HERE)
    assert not HOST.covers(ELSEWHERE)
    assert Target(HOST.addresses, 80).covers(HERE)
    assert not Target(HOST.addresses, 81).covers(HERE)
    assert Target().covers(ELSEWHERE)


def test_a_target_includes_what_it_covers_wholly() -> None:
    port = Target(HOST.addresses, 80)
    assert Target().includes(HOST)
    assert HOST.includes(port)
    assert not port.includes(HOST)
    assert not HOST.includes(Target())


def test_effects_add_up_and_leave_nothing_behind() -> None:
    slow, slower = Effect(HOST, factor=2, extra=1), Effect(Target(), factor=3, bandwidth=10)
    changed = link(slow, slower)
    assert changed.delay(random.Random(1)) == pytest.approx((0.1 * 2 + 1) * 3)
    assert changed.bandwidth == 10
    changed.work_out([])
    assert (changed.latency, changed.bandwidth) == (0.1, 100)


def test_an_effect_of_another_target_changes_nothing() -> None:
    elsewhere = Effect(Target(frozenset({"10.0.0.2"})), partitioned=True, refusing=True, backlog_full=True)
    calm = link(elsewhere)
    assert (calm.partitioned, calm.refusing, calm.backlog_full) == (False, False, False)


def test_so_many_syns_are_lost_and_no_more() -> None:
    lossy = link(Effect(HOST, syns_to_lose=2), Effect(Target(), syns_to_lose=1))
    assert [lossy.loses_syn() for _ in range(4)] == [True, True, True, False]


def test_jitter_makes_a_packet_later_and_never_earlier() -> None:
    jittery = Link(HERE, Settings(latency=0.1, jitter=0.5))
    jittery.work_out([])
    chance = random.Random(1)
    delays = [jittery.delay(chance) for _ in range(100)]
    assert 0.1 <= min(delays) < max(delays) <= 0.15
