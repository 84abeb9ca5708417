"""The file of a Unix socket: bound, found left over, and removed.

As uvicorn has it (through asyncio's create_unix_server): a socket file that is there already is taken for left over and
replaced, any other file is left alone and the address is in use. The file goes when the server stops listening for
good, unless another server has put its own there by then.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

__all__ = ["SocketFile", "check_socket_path"]

# `sun_path` holds 108 bytes on Linux and 104 elsewhere, the zero at its end included (unix(7)).
LONGEST = 107 if sys.platform == "linux" else 103


class SocketFile:
    """The file at `path`, on which one server listens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bound: tuple[int, int] | None = None

    def bind(self) -> socket.socket:
        """Return a bound socket, not yet listening. Raises OSError, with nothing left of it."""
        _remove_socket(self.path)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.setblocking(False)
            bound.bind(os.fspath(self.path))
            self._bound = _identity(self.path)
        except BaseException:
            bound.close()
            raise
        return bound

    def remove(self) -> None:
        """Remove the file, if it is still the one bound here. Removing twice is removing once."""
        bound, self._bound = self._bound, None
        try:
            if bound is not None and _identity(self.path) == bound:
                self.path.unlink()
        except FileNotFoundError:
            pass  # somebody has tidied up before


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _remove_socket(path: Path) -> None:
    try:
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
    except FileNotFoundError:
        pass  # nothing is left over


def check_socket_path(name: str, path: Path) -> None:
    """Raise ValueError for a path that the kernel could not take."""
    length = len(os.fsencode(path))
    if length > LONGEST:
        raise ValueError(
            f"{name}: expected a path of at most {LONGEST} bytes for a socket, got {length}: {str(path)!r}"
        )
