"""What a fleet is given, checked and spread over its servers; and the hostfile it leaves behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from fleetsim.certificates import Authority
from fleetsim.profile import Profile
from fleetsim.server import FleetEndpoint
from fleetsim.wire.unix import check_socket_path

__all__ = [
    "Tags",
    "check_answer",
    "check_first_index",
    "check_journal_lines",
    "check_ports",
    "check_profile",
    "check_seed",
    "check_size",
    "check_tls",
    "hostfile_lines",
    "socket_paths",
    "spread_ports",
    "spread_tags",
    "write_hostfile",
    "write_lines",
]

Tags = Mapping[str, str] | Sequence[Mapping[str, str]] | Callable[[int], Mapping[str, str]] | None

_HIGHEST_PORT = 65_535


def check_size(size: object) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"size: expected a whole number of at least 1, got {size!r}")


def check_ports(base_port: object, ports: object, size: int) -> None:
    if ports is not None:
        _check_each_port(ports, size)
        if base_port is not None:
            raise ValueError(f"base_port: expected None where ports are given, got {base_port!r}")
    if base_port is None:
        return
    highest = _HIGHEST_PORT - size + 1
    if not isinstance(base_port, int) or isinstance(base_port, bool) or not 1 <= base_port <= highest:
        raise ValueError(f"base_port: expected None or 1 to {highest} for {size} servers, got {base_port!r}")


def _check_each_port(ports: object, size: int) -> None:
    if not isinstance(ports, Sequence) or isinstance(ports, str) or len(ports) != size:
        raise ValueError(f"ports: expected None or one for each of {size} servers, got {ports!r}")
    for port in ports:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= _HIGHEST_PORT:
            raise ValueError(f"ports: expected 0 to {_HIGHEST_PORT} for each server, got {port!r}")


def spread_ports(base_port: int | None, ports: Sequence[int] | None, size: int) -> Sequence[int]:
    """Return the port of each server, 0 for what the kernel shall choose."""
    if ports is not None:
        return ports
    return [0] * size if base_port is None else range(base_port, base_port + size)


def check_first_index(index: object) -> None:
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise ValueError(f"first_index: expected a whole number of at least 0, got {index!r}")


def check_profile(profile: object) -> None:
    if profile is not None and not isinstance(profile, Profile):
        raise ValueError(f"profile: expected a Profile or None (Profile.parse takes a mapping), got {profile!r}")


def check_answer(answer: object) -> None:
    if answer is not None and not callable(answer):
        raise ValueError(f"answer: expected a function of the server's index, or None, got {answer!r}")


def check_seed(seed: object) -> None:
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise ValueError(f"seed: expected a whole number, or None for the profile's, got {seed!r}")


def check_journal_lines(lines: object) -> None:
    if not isinstance(lines, int) or isinstance(lines, bool) or lines < 0:
        raise ValueError(f"journal_lines: expected a whole number of at least 0, got {lines!r}")


def check_tls(tls: object) -> None:
    if tls is not None and not isinstance(tls, (bool, Authority)):
        raise ValueError(f"tls: expected True, False, or None for the profile's, got {tls!r}")


def socket_paths(unix_dir: object, size: int, first_index: int, **taken: object) -> list[Path | None]:
    """Return one socket file per server in `unix_dir`, or None for each. Raises ValueError for what cannot be, such as
    one of `taken` beside it."""
    if unix_dir is None:
        return [None] * size
    if not isinstance(unix_dir, (str, os.PathLike)) or not str(unix_dir):
        raise ValueError(f"unix_dir: expected the path of a folder, or None, got {unix_dir!r}")
    for name, value in taken.items():
        if value is not None:
            raise ValueError(f"{name}: expected None beside unix_dir, got {value!r}")
    paths = [Path(unix_dir, f"server-{index}.sock") for index in range(first_index, first_index + size)]
    check_socket_path("unix_dir", paths[-1])
    return [*paths]


def spread_tags(tags: Tags, size: int, *, first_index: int = 0) -> list[dict[str, str]]:
    """Return one mapping of tags per server. Raises ValueError naming the tag that a hostfile could not hold."""
    if tags is None:
        return [{} for _ in range(size)]
    if callable(tags):
        spread = [dict(tags(index)) for index in range(first_index, first_index + size)]
    elif isinstance(tags, Mapping):
        spread = [dict(tags) for _ in range(size)]
    else:
        spread = [dict(each) for each in _sequence(tags)]
    if len(spread) != size:
        raise ValueError(f"tags: expected one mapping for each of {size} servers, got {len(spread)}")
    for index, each in enumerate(spread, first_index):
        _check_tags(index, each)
    return spread


def _sequence(tags: object) -> Sequence[Mapping[str, str]]:
    if not isinstance(tags, Sequence) or not all(isinstance(each, Mapping) for each in tags):
        raise ValueError(f"tags: expected a mapping, one for each server, or a function of the index, got {tags!r}")
    return tags


def _check_tags(index: int, tags: Mapping[str, object]) -> None:
    for key, value in tags.items():
        for text in (key, value):
            if not isinstance(text, str) or any(mark in text for mark in "\t\r\n"):
                raise ValueError(f"tags: server {index}: expected text without tabs or line ends, got {text!r}")
        if not key or "=" in str(key):
            raise ValueError(f"tags: server {index}: expected a key without '=', got {key!r}")


def write_hostfile(path: Path, endpoints: Iterable[FleetEndpoint]) -> Path:
    """Write `host<TAB>port<TAB>key=value...` lines to `path`, replacing it in one step; return `path`.

    With TLS the URL stands for host and port.
    """
    return write_lines(path, hostfile_lines(endpoints))


def hostfile_lines(endpoints: Iterable[FleetEndpoint]) -> list[str]:
    """Return what `write_hostfile` writes, each line with its end."""
    return [_line(endpoint) for endpoint in endpoints]


def write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Write `lines` to `path`, replacing it in one step; return `path`. Raises OSError, and leaves it as it was."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide the file from the program it is for
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return path


def _line(endpoint: FleetEndpoint) -> str:
    address = [endpoint.host, str(endpoint.port)] if endpoint.scheme == "http" else [endpoint.url]
    fields = [*address, *(f"{key}={value}" for key, value in endpoint.tags.items())]
    return "\t".join(fields) + "\n"
