"""How hostfiles name agents: `host`, `host:port`, a URL, or a Slurm range that stands for many. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["Address", "parse_address", "parse_addresses", "parse_port", "parse_url"]

MOST_HOSTS_IN_A_RANGE: Final = 100_000
SCHEME_PORTS: Final = {"http": 80, "https": 443}

# Compiled when first used: that takes longer than importing all the rest of this file.
_RANGES: Final = r"\[([0-9,\-]+)\]"
_URL: Final = r"(https?)://(\[[^\]]+\]|[^:/\[\]]+)(?::([^/]*))?(?:/v1)?/?"
_COMMA_OUTSIDE_BRACKETS: Final = r",(?![^\[]*\])"

Address = tuple[str, str, int | None]
"""Scheme, host, and the port if the address names one."""


def parse_addresses(text: str, *, ports: bool = False) -> Iterator[Address]:
    """Every agent that `text` names, separated by commas. With `ports` a number behind a colon is always a port."""
    if "://" in text:
        _refuse_user(text)  # before anything of it is shown in an error
    for part in re.split(_COMMA_OUTSIDE_BRACKETS, text):
        if "://" in part:
            yield parse_url(part)
        else:
            for address in _spread(part):
                yield parse_address(address, ports=ports)


def parse_url(text: str) -> Address:
    """The address in a URL; without a port it has the scheme's own."""
    _refuse_user(text)
    match = re.fullmatch(_URL, text)
    if not match:
        raise ValueError(f"a URL must look like http://host:port or https://host:port, got {text!r}")
    scheme, host, port = match.groups()
    return scheme, host, parse_port(port) if port else SCHEME_PORTS[scheme]


def _refuse_user(text: str) -> None:
    if "@" in text:
        raise ValueError("a URL in a hostfile must not carry a user or a password")


def parse_address(text: str, *, ports: bool = False) -> Address:
    """A host with or without a port. Low numbers may be processes, as in MPICH's files: an error unless `ports`."""
    bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    host, colon, port = (text, "", "") if bare_ipv6 or text.endswith("]") else text.rpartition(":")
    if not colon:
        return "http", text, None
    number = parse_port(port)
    if not ports and number < 1024 and number not in SCHEME_PORTS.values():
        raise ValueError(
            f"{text!r} may mean port {number} or {number} processes: "
            f"write '{host}' if you mean the processes, 'http://{text}' if you mean the port"
        )
    return "http", host, number


def parse_port(text: str) -> int:
    """A port in decimal digits."""
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError(f"port must be 1 to 65535, got {text!r}")
    if not 1 <= int(text) <= 65535:
        raise ValueError(f"port must be 1 to 65535, got {text}")
    return int(text)


def _spread(text: str) -> list[str]:
    """Every host that a Slurm range stands for: "n[1-2]a[0-1]" gives n1a0, n1a1, n2a0 and n2a1."""
    before, *pieces = re.split(_RANGES, text)
    hosts = [before]
    for ranges, after in zip(pieces[::2], pieces[1::2], strict=True):
        numbers = [number for one in ranges.split(",") for number in _count(one, text)]
        if len(hosts) * len(numbers) > MOST_HOSTS_IN_A_RANGE:
            raise ValueError(f"{text!r} stands for more than {MOST_HOSTS_IN_A_RANGE} hosts")
        hosts = [f"{host}{number}{after}" for host in hosts for number in numbers]
    return hosts


def _count(text: str, whole: str) -> Iterator[str]:
    match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", text)
    first, last = (match[1], match[2] or match[1]) if match else ("", "")
    if not match or int(first) > int(last):
        raise ValueError(f"a range must look like [001-004] or [1,3-5], got {text!r} in {whole!r}")
    if int(last) - int(first) >= MOST_HOSTS_IN_A_RANGE:
        raise ValueError(f"{whole!r} stands for more than {MOST_HOSTS_IN_A_RANGE} hosts")
    return (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
