"""Who waits for nothing but time is let go in time."""

from __future__ import annotations

from hunt.oracles.oracle import Oracle
from hunt.steps import Moment
from hunt.world import Call
from swarmpool import QueueTimeout

__all__ = ["LimitsOfTimeHold"]

_ANSWERED = ("post", "stream", "post_batch", "send_all")
_CLOSE = 0.001  # seconds
_GOODBYE = 5.1  # seconds: websockets have `close_timeout`, which is 5, to say it
_ABRUPT = 0.1  # seconds: the rest is cut off


class LimitsOfTimeHold(Oracle):
    """Whoever is cancelled ends at that instant; the wait for a slot ends by `queue_timeout`, a request by `timeout`,
    and `close` soon after its drain."""

    def happens(self, moment: Moment, call: Call) -> None:
        if moment != "ended":
            return
        now, setup = self.world.now(), self.world.setup
        if call.cancelled_at is not None:
            late = now - call.cancelled_at
            self.must(late <= _CLOSE, f"{call} ended {late:.4f} s after it was cancelled")
        waits_once = (
            call.sort in ("post", "stream", "post_batch") and not self.world.kind.asks_first and not setup.cares
        )
        if isinstance(call.raised, QueueTimeout) and setup.queue_timeout is not None and waits_once:
            waited = now - call.began
            self.must(abs(waited - setup.queue_timeout) <= _CLOSE, f"{call} waited {waited:.4f} s for a slot")
        if call.sort not in _ANSWERED:
            return
        for result in call.results:
            tries = 1 + len(getattr(result, "earlier", ()))
            if setup.queue_timeout is not None:
                self._see(call, result.queue_seconds, tries * setup.queue_timeout, "waited for a slot")
            if call.sort in ("post", "stream"):
                limit = setup.timeout if call.limit is None else call.limit
                self._see(call, result.wire_seconds, tries * limit + self._patience(call), "was under way")

    def _patience(self, call: Call) -> float:
        """A reader who pauses between chunks is told when he reads on."""
        return 10 * call.pause

    def _see(self, call: Call, seconds: float, limit: float, what: str) -> None:
        self.must(seconds <= limit + _CLOSE, f"{call} {what} for {seconds:.4f} s, and the limit is {limit} s")

    def at_rest(self) -> None:
        world = self.world
        if world.closed_at is not None:
            late = world.closed_at - world.closed_by
            patience = _GOODBYE if world.ledgers else _ABRUPT
            self.must(late <= patience, f"close() returned {late:.1f} s after the end of its drain")
