"""What a fault may do. A fault is of one of these kinds, or an `Ending`, which writes the response.

When several are chosen for one request: all delays are waited for, one after the other; the last status replaces the
reply; the last ending writes the response; every `Receiving`, every `After` and every `Talking` acts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from aiohttp.streams import StreamReader

from fleetsim.exchange import Answer, Unary
from fleetsim.faults.catalogue import Fault
from fleetsim.wire.outgoing import Conclusion, Outgoing

if TYPE_CHECKING:
    from fleetsim.engine import Halt

__all__ = [
    "Accepted",
    "After",
    "Connecting",
    "Delay",
    "Doors",
    "Handshaking",
    "Idle",
    "Process",
    "Receiving",
    "Standing",
    "Status",
    "Talking",
    "Talks",
    "Undo",
    "Wrapping",
]

Undo = Callable[[], Awaitable[None]]
"""What takes an effect back. Called once; cancelling it may leave the effect."""

Wrapping = Callable[[Answer], Answer]
"""Makes of a server's answer another."""


class Accepted(Protocol):
    """What a fault may do to a connection that has just been accepted."""

    def fin(self) -> None:
        """End it with a FIN."""

    def rst(self) -> None:
        """End it with an RST."""

    def stop_reading(self) -> None:
        """Read no more: what the client sends stays in the kernel, and its end is not noticed."""

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Call `work` in `seconds`, unless the connection has gone, or bytes have come, by then."""

    def read_on(self) -> None:
        """Read again, what waits in the kernel first."""


class Idle(Accepted, Protocol):
    """What a fault may do to a connection whose response is over."""

    def at_next_request(self, work: Callable[[], None]) -> None:
        """Call `work` when the next bytes have come, in place of reading them as a request."""

    def shut_writing(self) -> None:
        """Send a FIN and go on reading; what comes is thrown away."""


class Doors(Protocol):
    """What a standing fault may do to a server that listens. Each of these is counted, and taken back as often."""

    def pause_accepting(self) -> None:
        """Leave new connections in the kernel's queue."""

    async def resume_accepting(self) -> None:
        """Take one pause back; with the last accept again, what waits in the kernel's queue first."""

    def refuse(self) -> None:
        """Give the port up: new connections are refused, those there are live on."""

    async def listen_again(self) -> None:
        """Take one refusal back; with the last take the port again. Raises BindError when somebody else has it."""


class Process(Protocol):
    """What a standing fault may do to a server as a process. Each `Undo` takes back its own effect alone."""

    @property
    def doors(self) -> Doors:
        """Its listening socket."""

    def note(self, fault: str) -> None:
        """Write the name of a fault to the connections and requests there are."""

    def slow_down(self, factor: float) -> Undo:
        """Make all latencies `factor` times as long."""

    def halt(self, halt: Halt, otherwise: Wrapping) -> Undo:
        """Stop the engine. An answer that has none is asked through `otherwise`."""

    def answer_through(self, wrapping: Wrapping) -> Undo:
        """Let `wrapping` answer in place of the server, which it is given."""

    def kill(self, name: str, back_after: float | None = None) -> Undo:
        """Cut everything at once, for the fault `name`. A new process begins when nothing wants it away any more,
        which this does no longer `back_after` seconds after the old one has gone."""

    def terminate(self, name: str, halt: Halt | None, patience: float, back_after: float | None = None) -> Undo:
        """As `kill`, but let it end in vLLM's order: `halt` is what its engine does, for `patience` seconds at most
        where it drains."""

    def terminate_after(self, name: str, seconds: float) -> Undo:
        """Tell it to end in `seconds`, its engine being as it is then."""


class Handshaking(Protocol):
    """What a fault may do to the handshake of a websocket, before it is written."""

    accept: str
    """Its Sec-WebSocket-Accept."""


class Talks(Protocol):
    """What a fault may do to a websocket whose handshake is done."""

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Call `work` in `seconds`, unless the websocket is over by then."""

    def when_idle(self, seconds: float, work: Callable[[], None]) -> None:
        """Call `work` when so long no message of the client's has come, unless the websocket is over by then."""

    def at_message(self, number: int, work: Callable[[], None]) -> None:
        """Call `work` in place of taking the client's message of that number, from 1; 0 is now."""

    def begin_close(self, code: int, reason: str = "") -> None:
        """Begin the closing handshake, unless either side has."""

    def drop_fin(self) -> None:
        """End the connection with a FIN, without a closing handshake."""

    def drop_rst(self) -> None:
        """End the connection with an RST."""

    def fall_silent(self) -> None:
        """From now on read nothing and write nothing; the connection stands."""

    def ignore_pings(self, *, after: int) -> None:
        """Answer so many more pings of the client's, and no other."""

    def fragment(self, size: int) -> None:
        """Send every message in fragments of so many bytes."""

    def pad_next(self, size: int) -> None:
        """Fill the next message sent up to so many bytes: text with spaces, binary with zeros."""


class Connecting(Fault):
    """Strikes a connection when it has been accepted."""

    __slots__ = ()

    @abstractmethod
    def accept(self, accepted: Accepted) -> None:
        """Do it. Nothing has been read."""


class Standing(Fault):
    """Holds for a server as a whole; it is not chosen by connection or request."""

    __slots__ = ()

    @abstractmethod
    def begin(self, process: Process) -> Undo:
        """Let it hold, at once, and return what takes it back."""


class Receiving(Fault):
    """Strikes while the request is read."""

    __slots__ = ()

    @abstractmethod
    async def receive(self, body: StreamReader, accepted: Accepted) -> Conclusion:
        """Act before the body is read; KEEP goes on, anything else ends the connection without an answer.

        Cancelled when the client goes.
        """


class Delay(Fault):
    """Holds the response back."""

    __slots__ = ()

    @abstractmethod
    async def wait(self) -> None:
        """Return when the response may begin. Cancelled when the client goes."""


class Status(Fault):
    """Answers in place of the server. No answer is computed."""

    __slots__ = ()

    @abstractmethod
    def reply(self) -> Unary:
        """Return the answer."""


class After(Fault):
    """Arms itself on the connection when the response is over."""

    __slots__ = ()

    def prepare(self, out: Outgoing, on_connection: int) -> None:
        """Look at the response before it is written; `on_connection` is the request's number there, from 1."""

    def arm(self, idle: Idle) -> None:
        """Act on the connection, if it has been kept."""


class Talking(Fault):
    """Strikes a websocket that is granted."""

    __slots__ = ()

    def prepare(self, handshake: Handshaking) -> None:
        """Change the handshake's answer before it is written."""

    def begin(self, talks: Talks) -> None:
        """Act on the websocket. The handshake has just been done."""
