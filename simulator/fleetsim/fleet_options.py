"""What a fleet is given, checked and spread over its servers; and the hostfile it leaves behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from fleetsim.server import FleetEndpoint

__all__ = ["Tags", "check_keepalive_timeout", "check_ports", "check_size", "spread_tags", "write_hostfile"]

Tags = Mapping[str, str] | Sequence[Mapping[str, str]] | Callable[[int], Mapping[str, str]] | None

_HIGHEST_PORT = 65_535


def check_size(size: object) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(f"size: expected a whole number of at least 1, got {size!r}")


def check_ports(base_port: object, size: int) -> None:
    if base_port is None:
        return
    highest = _HIGHEST_PORT - size + 1
    if not isinstance(base_port, int) or isinstance(base_port, bool) or not 1 <= base_port <= highest:
        raise ValueError(f"base_port: expected None or 1 to {highest} for {size} servers, got {base_port!r}")


def check_keepalive_timeout(seconds: object) -> None:
    if seconds is None:
        return
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not seconds >= 0:
        raise ValueError(f"keepalive_timeout: expected seconds of at least 0, or None for never, got {seconds!r}")


def spread_tags(tags: Tags, size: int) -> list[dict[str, str]]:
    """Return one mapping of tags per server. Raises ValueError naming the tag that a hostfile could not hold."""
    if tags is None:
        return [{} for _ in range(size)]
    if callable(tags):
        spread = [dict(tags(index)) for index in range(size)]
    elif isinstance(tags, Mapping):
        spread = [dict(tags) for _ in range(size)]
    else:
        spread = [dict(each) for each in tags]
    if len(spread) != size:
        raise ValueError(f"tags: expected one mapping for each of {size} servers, got {len(spread)}")
    for index, each in enumerate(spread):
        _check_tags(index, each)
    return spread


def _check_tags(index: int, tags: Mapping[str, object]) -> None:
    for key, value in tags.items():
        for text in (key, value):
            if not isinstance(text, str) or any(mark in text for mark in "\t\r\n"):
                raise ValueError(f"tags: server {index}: expected text without tabs or line ends, got {text!r}")
        if not key or "=" in str(key):
            raise ValueError(f"tags: server {index}: expected a key without '=', got {key!r}")


def write_hostfile(path: Path, endpoints: Iterable[FleetEndpoint]) -> Path:
    """Write `host<TAB>port<TAB>key=value...` lines to `path`, replacing it in one step; return `path`."""
    lines = [_line(endpoint) for endpoint in endpoints]
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
    fields = [endpoint.host, str(endpoint.port), *(f"{key}={value}" for key, value in endpoint.tags.items())]
    return "\t".join(fields) + "\n"
