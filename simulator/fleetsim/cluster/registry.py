"""The folder in which every rank says where its servers are: `3.tsv` is a hostfile, with a first line about rank 3.

    # fleetsim rank=3 ranks=128 job=4711.pbs node=x1001 pid=1234

Guarantees. A file appears whole or not at all, on every node that shares the folder: it is written beside, brought to
the disk, and given its name in one step. No rank takes the place of another that may still run; what an earlier job, or
a process of this node that is gone, has left behind is replaced. A rank that speaks TLS has the certificate of its
authority in that line, as `ca=`; no private key is in the folder.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleetsim.cluster.ranks import Rank
from fleetsim.errors import FleetError
from fleetsim.fleet_options import hostfile_lines
from fleetsim.server import FleetEndpoint

__all__ = ["Registration", "read_registrations", "registered"]

_MARK = "# fleetsim "


@dataclass(frozen=True, slots=True)
class Registration:
    """What one rank says: who it is, its servers as lines of a hostfile, and with TLS whom to trust for them: PEM."""

    rank: int
    ranks: int | None = None
    job: str | None = None
    node: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    lines: tuple[str, ...] = ()
    ca: bytes | None = None

    def written(self) -> str:
        """Return the text of its file."""
        ca = None if self.ca is None else base64.b64encode(self.ca).decode()
        words = {"rank": self.rank, "ranks": self.ranks, "job": self.job, "node": self.node, "pid": self.pid, "ca": ca}
        head = " ".join(f"{word}={value}" for word, value in words.items() if value is not None)
        return f"{_MARK}{head}\n{''.join(self.lines)}"

    @property
    def addresses(self) -> list[str]:
        """Where each server is, as the file says it."""
        return [" ".join(line.rstrip("\n").split("\t")[:2]) for line in self.lines]


@contextlib.contextmanager
def registered(
    folder: Path, rank: Rank, job: str | None, endpoints: Iterable[FleetEndpoint], ca: bytes | None = None
) -> Iterator[Path]:
    """Let the file of `rank` be there while the context lasts; `ca` is its authority's certificate.

    Raises FleetError when the folder cannot be written, or when the file of a rank that may still run is there.
    """
    registration = Registration(rank.number, rank.ranks, job, lines=tuple(hostfile_lines(endpoints)), ca=ca)
    path = folder / f"{rank.number}.tsv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, registration)
    except OSError as error:
        raise FleetError(f"--register: {path} cannot be written: {error.strerror}") from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, registration: Registration) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(registration.written())
            file.flush()
            os.fsync(descriptor)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide it from the program it is for
        if not _named(temporary, path):
            _check_left_over(path, registration)
            os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _named(temporary: str, path: Path) -> bool:
    """Give the file its name unless there is one of that name; say whether it was given."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _check_left_over(path: Path, registration: Registration) -> None:
    there = _read(path)
    if there is None:
        return
    if there.job is not None and registration.job is not None and there.job != registration.job:
        return
    if there.node == registration.node and not _is_alive(there.pid):
        return
    raise FleetError(
        f"--register: {path} is of process {there.pid} on {there.node}: expected a rank of its own for each process; "
        f"take an empty folder, or say which is which with --rank"
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read_registrations(folder: Path) -> dict[int, Registration]:
    """Return what is registered now, by rank. Raises FleetError for a file that no rank has written, or a folder that
    cannot be read."""
    try:
        paths = sorted(folder.glob("[0-9]*.tsv"))
    except OSError as error:
        raise FleetError(f"{folder}: cannot be read: {error.strerror}") from error
    found = [registration for path in paths if (registration := _read(path)) is not None]
    return {registration.rank: registration for registration in sorted(found, key=lambda each: each.rank)}


def _read(path: Path) -> Registration | None:
    try:
        head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return None  # its rank has ended meanwhile
    except (OSError, ValueError) as error:
        raise FleetError(f"{path}: cannot be read: {error}") from error
    words = dict(word.partition("=")[::2] for word in head.removeprefix(_MARK).split())
    try:
        return _parsed(words, tuple(lines))
    except (KeyError, ValueError) as error:
        raise FleetError(f"{path}: expected {_MARK}rank=N node=NAME pid=N as the first line, got {head!r}") from error


def _parsed(words: Mapping[str, str], lines: tuple[str, ...]) -> Registration:
    ranks, ca = words.get("ranks"), words.get("ca")
    return Registration(
        rank=int(words["rank"]),
        ranks=None if ranks is None else int(ranks),
        job=words.get("job"),
        node=words["node"],
        pid=int(words["pid"]),
        lines=lines,
        ca=None if ca is None else base64.b64decode(ca, validate=True),
    )
