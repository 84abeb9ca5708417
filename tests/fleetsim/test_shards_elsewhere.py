from __future__ import annotations

from typing import Any

import pytest

from fleetsim import Fleet, Ledger, ShardedFleet
from fleetsim.shards.elsewhere import OF_FLEETS, OF_LEDGERS
from fleetsim.shards.ledger import ShardedLedger


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_all_that_a_fleet_has_and_one_over_processes_has_not_is_told_what_to_do_instead() -> None:
    of_instances = {"paths"}  # of a ShardedFleet
    assert public(Fleet) - public(ShardedFleet) - of_instances == set(OF_FLEETS)
    assert public(Ledger) - public(ShardedLedger) == set(OF_LEDGERS)


@pytest.mark.parametrize("name", sorted(OF_FLEETS))
def test_a_name_of_a_fleet_is_refused_with_a_way_out(name: str) -> None:
    fleet = ShardedFleet(2)
    with pytest.raises(AttributeError) as caught:
        getattr(fleet, name)
    said = f"'ShardedFleet' object has no attribute {name!r}, for its servers are in other processes: {OF_FLEETS[name]}"
    assert str(caught.value) == said


@pytest.mark.parametrize("name", ["connection_records", "opened", "peak_open", "wait_for_sync"])
def test_a_name_of_a_ledger_is_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(AttributeError, match=f"'ShardedLedger' object has no attribute '{name}', for its servers are"):
        getattr(ShardedFleet(2).ledger, name)


def test_any_other_name_is_refused_as_ever() -> None:
    with pytest.raises(AttributeError, match=r"^'ShardedFleet' object has no attribute 'sevrers'$"):
        ShardedFleet(2).sevrers  # type: ignore[attr-defined]  # noqa: B018 - that is what is tried


def test_servers_are_not_looked_for_in_this_process() -> None:
    fleet: Any = ShardedFleet(2)
    for look in (lambda: fleet[0], lambda: list(fleet)):
        with pytest.raises(TypeError, match=r"`await fleet.servers\(\)` tells of them"):
            look()
