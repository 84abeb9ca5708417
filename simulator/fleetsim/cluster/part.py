"""What one rank, or one worker, serves of a whole: numbered as in the whole, with the rules that are for it."""

from __future__ import annotations

from typing import Any

import msgspec

from fleetsim.fleet import Fleet
from fleetsim.profile import Profile

__all__ = ["part_of"]


def part_of(number: int, size: int, profile: Profile, **options: Any) -> Fleet:
    """Return part `number` of parts of `size` servers each, to be entered; `options` are those of `Fleet`.

    Its servers are tagged `rank=number`. Raises ValueError for options that cannot be.
    """
    plain = msgspec.structs.replace(profile, faults=())
    fleet = Fleet(size, profile=plain, first_index=number * size, tags={"rank": str(number)}, **options)
    # A rule's number chooses its dice, and so is that in the whole.
    for place, rule in enumerate(profile.faults, 1):
        if any(rule.where.is_for_server(server.index, server.tags) for server in fleet):
            fleet.faults.arm_any(rule, number=place)
    return fleet
