"""What one rank, or one worker, serves of a whole: numbered as in the whole, with the rules that are for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fleetsim.fleet import Fleet
from fleetsim.profile import Profile

if TYPE_CHECKING:
    from fleetsim.service import AnyFleet

__all__ = ["part_of"]

F = TypeVar("F", bound="AnyFleet")


def part_of(make: Callable[..., F], number: int, size: int, profile: Profile, **options: Any) -> F:
    """Return part `number` of parts of `size` servers each, to be entered, by `make(size, ...)`: a Fleet, or a fleet
    over several processes. `options` are for it too.

    Its servers are tagged `rank=number`. Raises ValueError for options that cannot be.
    """
    plain, tags = msgspec.structs.replace(profile, faults=()), {"rank": str(number)}
    fleet = make(size, profile=plain, first_index=number * size, tags=tags, **options)
    # A rule's number chooses its dice, and so is that in the whole.
    for place, rule in enumerate(profile.faults, 1):
        if any(rule.where.is_for_server(number * size + index, tags) for index in range(size)):
            if isinstance(fleet, Fleet):
                fleet.faults.arm_any(rule, number=place)
            else:
                fleet.arm_first(rule, number=place)
    return fleet
