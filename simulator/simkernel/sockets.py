"""`socket.socket` for the time of a run: the same calls, a simulated descriptor, never a real one.

It is a subclass, so whoever asks `isinstance(x, socket.socket)` is content, and it never initialises its base: the C
object holds no descriptor. Blocking calls are those of a program that would stand still for ever, and so an escape;
those that need not wait work.
"""

from __future__ import annotations

import errno
import socket
import struct
import warnings
from collections.abc import Iterable
from typing import Any, NoReturn, Self

from simkernel import world
from simkernel.descriptors import is_simulated
from simkernel.hosts import ANYWHERE
from simkernel.tcp import End, State, raise_errno

__all__ = ["RealSocket", "SimSocket"]

RealSocket = socket.socket

_NOWHERE = (ANYWHERE, 0)
_PEEK = int(socket.MSG_PEEK)  # asked of the enum itself it would cost a tenth of a received segment


class SimSocket(RealSocket):
    """A TCP socket over IPv4 in the running simulation; a real socket where none runs."""

    _kernel: Any
    _end: End
    _descriptor: int = -1
    _timeout: float | None = None

    def __new__(cls, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> Any:
        if world.current() is None:
            return RealSocket(family, type, proto, fileno)
        return RealSocket.__new__(cls)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        here = world.current()
        assert here is not None
        self._kernel = here.net
        if fileno is not None:
            self._adopt(fileno)
            return
        self._check_kind(family, type)
        self._end = End(here.net)
        self._descriptor = here.net.descriptors.open(self._end)

    @staticmethod
    def _check_kind(family: int, kind: int) -> None:
        if family == socket.AF_INET6:
            raise_errno(errno.EAFNOSUPPORT)
        if family not in (-1, socket.AF_INET):
            raise world.escape(f"socket.socket(family={family!r})")
        if kind not in (-1, 0) and kind & 0xF != socket.SOCK_STREAM:
            raise world.escape(f"socket.socket(type={kind!r})")

    def _adopt(self, descriptor: int) -> None:
        if not is_simulated(descriptor):
            raise world.escape(f"socket.socket(fileno={descriptor!r})")
        self._end = self._kernel.descriptors.get(descriptor)
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._descriptor < 0 else self._end.state.value
        return f"<SimSocket fd={self._descriptor}, {state}, laddr={self._end.local}, raddr={self._end.remote}>"

    def __del__(self) -> None:
        if self._descriptor >= 0:
            here = world.current()
            if here is not None and here.net is self._kernel:
                self._kernel.note("socket dropped without close", self._end.state.value)
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
                self.close()

    # What it is.

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        return socket.IPPROTO_TCP

    @property
    def timeout(self) -> float | None:
        return self._timeout

    def fileno(self) -> int:
        return self._descriptor

    def gettimeout(self) -> float | None:
        return self._timeout

    def settimeout(self, value: float | None, /) -> None:
        self._timeout = value

    def setblocking(self, flag: bool, /) -> None:
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        return self._timeout != 0.0

    def get_inheritable(self) -> bool:
        return False

    def set_inheritable(self, inheritable: bool) -> None:
        """Nobody inherits it: a simulation starts no process."""

    def getsockname(self) -> Any:
        return self._open_end().local or _NOWHERE

    def getpeername(self) -> Any:
        end = self._open_end()
        if end.state is not State.CONNECTED or end.reset:
            raise_errno(errno.ENOTCONN)
        return end.remote

    def setsockopt(self, level: int, optname: int, value: Any, optlen: Any = None, /) -> None:
        """Only SO_LINGER has an effect; every other option is taken and forgotten."""
        end = self._open_end()
        if (level, optname) == (socket.SOL_SOCKET, socket.SO_LINGER):
            on, seconds = struct.unpack("ii", value)
            end.lingers_zero = bool(on) and seconds == 0

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> Any:
        """SO_ERROR, SO_TYPE, SO_ACCEPTCONN, SO_SNDBUF and SO_RCVBUF are answered; every other option is 0."""
        end = self._open_end()
        if level != socket.SOL_SOCKET:
            return 0
        if optname == socket.SO_ERROR:
            number, end.error = end.error, 0
            return number
        if optname in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            return self._kernel.settings.buffer
        kinds = {socket.SO_TYPE: socket.SOCK_STREAM, socket.SO_ACCEPTCONN: int(end.state is State.LISTENING)}
        return kinds.get(optname, 0)

    # A server's.

    def bind(self, address: Any, /) -> None:
        self._kernel.bind(self._open_end(), (address[0], address[1]))

    def listen(self, backlog: int = 128, /) -> None:
        end = self._open_end()
        if end.listening is not None and end.state is State.LISTENING:
            end.listening.backlog = backlog
        else:
            self._kernel.listen(end, backlog)

    def accept(self) -> tuple[socket.socket, Any]:
        end = self._open_end()
        accepted = end.next_to_accept()
        if accepted is None:
            self._wait("accept")
        descriptor = self._kernel.descriptors.open(accepted)  # out of descriptors, it goes on waiting
        end.accepted()
        return type(self)(fileno=descriptor), accepted.remote

    # A client's.

    def connect(self, address: Any, /) -> None:
        end = self._open_end()
        if end.state is State.CONNECTED:
            raise_errno(errno.EISCONN)
        if end.state is not State.NEW:
            raise_errno(errno.EALREADY)
        if self._timeout != 0.0:
            raise world.escape("socket.connect() of a blocking socket")
        self._kernel.connect(end, (address[0], address[1]))
        raise_errno(errno.EINPROGRESS)

    def connect_ex(self, address: Any, /) -> int:
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or 0
        return 0

    # Both.

    def send(self, data: Any, flags: int = 0, /) -> int:
        sent = self._open_end().send(data)
        if sent is None:
            self._wait("send")
        return sent

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        if self.send(data) != len(data):
            self._wait("sendall")

    def sendmsg(self, buffers: Iterable[Any], ancdata: Any = (), flags: int = 0, address: Any = None, /) -> int:
        return self.send(b"".join(buffers))

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        end = self._open_end()
        if flags and flags & _PEEK and end.unread:
            return end.peek(bufsize)
        data = end.receive(bufsize)
        if data is None:
            self._wait("recv")
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        with memoryview(buffer).cast("B") as view:
            data = self.recv(nbytes or len(view), flags)
            view[: len(data)] = data
            return len(data)

    def shutdown(self, how: int, /) -> None:
        end = self._open_end()
        if end.state is State.LISTENING:
            end.shut_listening()
        elif how in (socket.SHUT_WR, socket.SHUT_RDWR):
            end.shut_writing()

    def dup(self) -> SimSocket:
        return type(self)(fileno=self._kernel.descriptors.duplicate(self._open_descriptor()))

    def detach(self) -> int:
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._kernel.descriptors.close(descriptor)

    def recvfrom(self, *args: Any) -> NoReturn:
        raise world.escape("socket.recvfrom()")

    def recvmsg(self, *args: Any) -> NoReturn:
        raise world.escape("socket.recvmsg()")

    def sendto(self, *args: Any) -> NoReturn:
        raise world.escape("socket.sendto()")

    def makefile(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise world.escape("socket.makefile()")

    def _open_descriptor(self) -> int:
        if self._descriptor < 0:
            raise_errno(errno.EBADF)
        return self._descriptor

    def _open_end(self) -> End:
        if self._descriptor < 0:
            raise_errno(errno.EBADF)
        return self._end

    def _wait(self, call: str) -> NoReturn:
        if self._timeout == 0.0:
            raise_errno(errno.EAGAIN)
        raise world.escape(f"socket.{call}() of a blocking socket, which would wait for ever,")
