"""The KV cache: how many blocks there are, whose they are, and which can be found again.

A block is in one of four places, and their sum is always `capacity`: *empty*; *idle*, which is full, known by its key
and nobody's; *held*, known by its key and used by one request or several; or *private*, used by one request and known
to nobody. Only full blocks have keys, as in vLLM (v1/core/kv_cache_utils.py).

    empty ──► private ──► held ◄──► idle ──► empty (the one idle longest, when no block is empty)

The blocks of one place are alike, so empty and private ones are only counted. Two ways in which vLLM is less orderly:
there an empty block may lie behind an idle one in the queue of free ones, and two requests that compute the same block
at the same time both keep theirs under the key. Here idle blocks go last, and the second of the two stays private.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from fleetsim.engine.limits import EngineLimits
from fleetsim.engine.request import Request

__all__ = ["KVBlocks"]


class KVBlocks:
    """The blocks of one engine. Every method leaves each block in one place."""

    __slots__ = ("_held", "_idle", "_size", "caching", "capacity", "empty", "private")

    def __init__(self, limits: EngineLimits) -> None:
        self.capacity = self.empty = limits.num_blocks
        self.caching = limits.prefix_caching
        self.private = 0
        self._size = limits.block_size
        self._held: dict[Hashable, int] = {}
        self._idle: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def free(self) -> int:
        """Blocks that can be had: empty, or idle."""
        return self.empty + len(self._idle)

    @property
    def used(self) -> int:
        """Blocks that requests have, each counted once however many share it."""
        return self.private + len(self._held)

    @property
    def idle(self) -> int:
        """Full blocks that are kept for whoever has the same prefix."""
        return len(self._idle)

    def users(self, key: Hashable) -> int:
        """How many requests use the block of that key."""
        return self._held.get(key, 0)

    def found(self, request: Request) -> int:
        """How many leading blocks of `request` are in the cache.

        Never all of its tokens: the last must be computed to know what follows (vLLM: v1/core/kv_cache_manager.py).
        """
        if not self.caching:
            return 0
        most = min(len(request.keys), (request.tokens - 1) // self._size)
        for index in range(most):
            key = request.keys[index]
            if key not in self._held and key not in self._idle:
                return index
        return most

    def fits(self, request: Request, found: int) -> bool:
        """Whether the whole of `request`, of which the first `found` blocks are in the cache, could be had now."""
        needed = -(-request.tokens // self._size) - found
        woken = sum(key in self._idle for key in request.keys[:found])
        return needed <= self.free - woken

    def share(self, request: Request, found: int) -> None:
        """Give `request`, which has none, its first `found` blocks from the cache."""
        for key in request.keys[:found]:
            self._idle.pop(key, None)
            self._held[key] = self._held.get(key, 0) + 1
        request.blocks = request.shared = found
        request.cached = request.computed = found * self._size

    def grow(self, request: Request, tokens: int) -> bool:
        """Give `request` the blocks for `tokens` more tokens. If there are too few, return False and change nothing."""
        more = -(-(request.computed + tokens) // self._size) - request.blocks
        if more > 0:
            if more > self.free:
                return False
            self._take(more)
            request.blocks += more
        return True

    def publish(self, request: Request) -> None:
        """Put the blocks of `request` that have become full into the cache, under their keys."""
        if not self.caching:
            return
        full = min(len(request.keys), request.computed // self._size)
        while request.shared < full:
            key = request.keys[request.shared]
            if key in self._held or key in self._idle:
                return
            self.private -= 1
            self._held[key] = 1
            request.shared += 1

    def release(self, request: Request) -> None:
        """Take all blocks from `request`. Of those that become idle its last is the first to be given away."""
        private = request.blocks - request.shared
        self.private -= private
        self.empty += private
        for index in range(request.shared - 1, -1, -1):
            self._leave(request.keys[index])
        request.blocks = request.shared = request.computed = 0

    def _take(self, count: int) -> None:
        for _ in range(count - self.empty):
            self._idle.popitem(last=False)
            self.empty += 1
        self.empty -= count
        self.private += count

    def _leave(self, key: Hashable) -> None:
        users = self._held[key] - 1
        if users:
            self._held[key] = users
        else:
            del self._held[key]
            self._idle[key] = None
