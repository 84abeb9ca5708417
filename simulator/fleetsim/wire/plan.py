"""What the faults chosen for one request come to.

Delays add up, and so do stalls; the last status replaces the reply; the last ending writes the response, and a stall
beside another ending is waited for before its first byte.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp.streams import StreamReader

from fleetsim.exchange import Unary
from fleetsim.faults.body import Stall, Stalls
from fleetsim.faults.catalogue import Fault
from fleetsim.faults.kinds import Accepted, After, Delay, Idle, Receiving, Status, Talking
from fleetsim.wire.endings import Ending
from fleetsim.wire.outgoing import Conclusion, Outgoing

__all__ = ["Plan"]


class Plan:
    """`names` are those of `faults`, in their order. `ending` writes the response: `usual` where no fault does.

    `on_connection` is the request's number on its connection, from 1. `talking` strikes the websocket, if one comes of
    it.
    """

    __slots__ = ("_after", "_delays", "_on_connection", "_receiving", "_status", "ending", "names", "talking")

    def __init__(self, faults: Sequence[Fault], usual: Ending, on_connection: int) -> None:
        self.names = tuple(fault.name for fault in faults)
        self._on_connection = on_connection
        self._after = [each for each in faults if isinstance(each, After)]
        self._delays: list[Delay | Stall] = [each for each in faults if isinstance(each, Delay)]
        self._receiving = [each for each in faults if isinstance(each, Receiving)]
        self.talking = [each for each in faults if isinstance(each, Talking)]
        self._status = next((each for each in reversed(faults) if isinstance(each, Status)), None)
        self.ending = self._choose([each for each in faults if isinstance(each, Ending)], usual)

    def _choose(self, endings: Sequence[Ending], usual: Ending) -> Ending:
        stalls = [each for each in endings if isinstance(each, Stall)]
        others = [each for each in endings if not isinstance(each, Stall)]
        if others:
            self._delays += stalls
            return others[-1]
        return Stalls(tuple(stalls)) if stalls else usual

    async def receive(self, body: StreamReader, accepted: Accepted) -> Conclusion:
        """Let the faults of the request's stage act; KEEP goes on. Cancelled when the client goes."""
        for fault in self._receiving:
            conclusion = await fault.receive(body, accepted)
            if conclusion is not Conclusion.KEEP:
                return conclusion
        return Conclusion.KEEP

    async def prepare(self, out: Outgoing) -> None:
        """Return when the response may begin. Cancelled when the client goes."""
        for after in self._after:
            after.prepare(out, self._on_connection)
        for delay in self._delays:
            await delay.wait()

    def arm(self, idle: Idle) -> None:
        """The response is over and the connection is kept."""
        for after in self._after:
            after.arm(idle)

    def reply(self) -> Unary | None:
        """Return the reply in place of the server's own, if a fault has one."""
        return None if self._status is None else self._status.reply()
