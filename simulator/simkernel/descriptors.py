"""File descriptors that no kernel has given: numbers far above any real one, and what each refers to."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from simkernel.tcp import raise_errno

if TYPE_CHECKING:
    from simkernel.tcp import End

__all__ = ["Descriptors", "is_simulated"]

_FIRST = 1 << 20


def is_simulated(descriptor: object) -> bool:
    """Whether this number can only be one of ours."""
    return isinstance(descriptor, int) and descriptor >= _FIRST


class Descriptors:
    """The open ones. `limits` are in force together: the lowest counts. None of a run is given out twice."""

    def __init__(self) -> None:
        self._open: dict[int, End] = {}
        self._next = _FIRST
        self.limits: list[int] = []

    def __len__(self) -> int:
        return len(self._open)

    def open(self, end: End) -> int:
        """Return a new descriptor of this end. Raises EMFILE at the limit."""
        if self.limits and len(self._open) >= min(self.limits):
            raise_errno(errno.EMFILE)
        descriptor, self._next = self._next, self._next + 1
        self._open[descriptor] = end
        end.descriptors[descriptor] = None
        return descriptor

    def get(self, descriptor: int) -> End:
        """Return what it refers to. Raises EBADF for one that is not open."""
        end = self._open.get(descriptor)
        if end is None:
            raise_errno(errno.EBADF)
        return end

    def duplicate(self, descriptor: int) -> int:
        """Return a second one of the same end. Raises EBADF and EMFILE."""
        return self.open(self.get(descriptor))

    def close(self, descriptor: int) -> None:
        """Close it, and its end with the last one. Raises EBADF."""
        end = self.get(descriptor)
        del self._open[descriptor]
        del end.descriptors[descriptor]
        end.kernel.stirred.pop(descriptor, None)
        if not end.descriptors:
            end.close()
