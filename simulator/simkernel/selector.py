"""A simulated loop's selector: it asks the ends that have stirred, and where nobody is ready it moves the clock."""

from __future__ import annotations

import gc
import selectors
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from simkernel import world
from simkernel.descriptors import is_simulated
from simkernel.errors import SimDeadlock, SimLivelock

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

    from simkernel.faults import Net
    from simkernel.tcp import End

__all__ = ["SimSelector"]

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

# A run collects at its end. A long one does it now and then too, by a count, so that it is always at the same point:
# each connection leaves a cycle of asyncio's and of ours.
_TURNS_UNCOLLECTED = 250_000

Ready = list[tuple[selectors.SelectorKey, int]]


class SimSelector(selectors.BaseSelector):
    """`next_timer` and `waiting` are the loop's: when its next timer is due, and who waits, in words."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._last_turn = net.settings.max_turns  # unless time passes before it
        self._next_collection = _TURNS_UNCOLLECTED
        self.next_timer: Callable[[], float | None] = _no_timer
        self.waiting: Callable[[], str] = str

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._keys[_number(fileobj)]

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        if _number(fileobj) in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        return self.modify(fileobj, events, data)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        number = _number(fileobj)
        self._net.descriptors.get(number).stir()
        key = self._keys[number] = selectors.SelectorKey(number, number, events, data)
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._keys.pop(_number(fileobj))

    def close(self) -> None:
        self._keys.clear()

    def select(self, timeout: float | None = None) -> Ready:
        """Return who is ready. With nobody, and leave to wait, let time pass until something happens.

        Raises SimDeadlock when nothing ever will, and SimLivelock.
        """
        net = self._net
        statistics = net.statistics
        statistics.turns += 1
        if statistics.turns > self._last_turn:
            raise self._livelock()
        if net.settings.processing:
            net.now += net.settings.processing * net.chance.random()
        net.run_due()
        ready = self._ready() if net.stirred else []
        if not ready and (timeout is None or timeout > 0):
            self._let_time_pass()
            net.run_due()
            ready = self._ready()
        return ready

    def _let_time_pass(self) -> None:
        net = self._net
        due, timer = net.next_due(), self.next_timer()
        if timer is not None and (due is None or timer < due):
            due = timer
        if due is None:
            raise SimDeadlock(f"nothing will ever happen: {self.waiting()}")
        turns = net.statistics.turns
        if due > net.now:
            net.now = due
            self._last_turn = turns + net.settings.max_turns
        if turns >= self._next_collection:
            self._next_collection = turns + _TURNS_UNCOLLECTED
            gc.collect()
        if net.now - net.started > net.settings.max_seconds:
            raise SimLivelock(f"{net.settings.max_seconds:g} virtual seconds and no end: {self.waiting()}")

    def _livelock(self) -> SimLivelock:
        turns, now = self._net.settings.max_turns + 1, self._net.now
        return SimLivelock(f"{turns} turns of the loop and no time passes at {now:g} s: {self.waiting()}")

    def _ready(self) -> Ready:
        ready: Ready = []
        stirred = self._net.stirred
        for number, end in tuple(stirred.items()):
            key = self._keys.get(number)
            if key is not None and (mask := _mask(key.events, end)):
                ready.append((key, mask))
            else:
                del stirred[number]
        if len(ready) > 1:
            self._net.chance.shuffle(ready)  # epoll(7) promises no order
        return ready


def _mask(events: int, end: End) -> int:
    """What of `events` has come about."""
    mask = _READ if events & _READ and end.is_readable() else 0
    return mask | _WRITE if events & _WRITE and end.is_writable() else mask


def _number(fileobj: FileDescriptorLike) -> int:
    number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if not is_simulated(number):
        raise world.escape(f"waiting for the real descriptor {number}")
    return number


def _no_timer() -> float | None:
    return None
