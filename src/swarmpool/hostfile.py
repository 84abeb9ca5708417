"""Hostfiles: the agents of a job, one per line, as schedulers and people write them.

Our own dialect has tabs between its fields, and is what `write_hostfile` writes:

    host<TAB>port<TAB>key=value<TAB>key=value

The port defaults to 8000, and a `#` at the start of a field begins a comment. The other dialects differ in how an
agent is named, so that one grammar reads them all, also when they are mixed:

    node7                       a name or address alone; a PBS nodefile repeats it per slot: read once, order kept
    node7:8001  [::1]:8001      with its port
    http://node7:8001           a URL; without a port it means the scheme's own, 80 or 443; "/v1" at its end is dropped
    nid[001-004,007]:8001       a Slurm range, also `a,b` and several brackets; zeros in front are kept
    node7 slots=4               Open MPI: spaces instead of tabs, and `slots` is a tag like any other
    ["node7:8001", {"host": "node8", "port": 8001, "tags": {"rack": "a"}}]      a whole file of JSON

What is not clear is an error. MPICH's `node7:4` means four processes and not port 4, so that after a colon a port
below 1024 must be 80 or 443. The same address twice is read once, but with other tags it is an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, TextIO

from swarmpool.endpoints import DEFAULT_PORT, AgentEndpoint, EndpointLike, as_endpoint
from swarmpool.errors import HostfileError

__all__ = ["parse_hostfile", "write_hostfile"]

MOST_HOSTS_IN_A_RANGE: Final = 100_000
SCHEME_PORTS: Final = {"http": 80, "https": 443}
JSON_KEYS: Final = {"host", "port", "tags", "scheme", "url"}

# Compiled when first used: that takes longer than importing all the rest of this file.
# A JSON list holds text, objects, pairs or nothing; an IPv6 address in brackets looks like none of them.
_JSON_LIST: Final = r'\s*\[\s*["{\[\]]'
_COMMENT: Final = r"(?:^|\s)#.*"
_RANGES: Final = r"\[([0-9,\-]+)\]"
_URL: Final = r"(https?)://(\[[^\]]+\]|[^:/\[\]]+)(?::([^/]*))?(?:/v1)?/?"
_COMMA_OUTSIDE_BRACKETS: Final = r",(?![^\[]*\])"

Hostfile = str | os.PathLike[str] | TextIO


def parse_hostfile(hostfile: Hostfile) -> list[AgentEndpoint]:
    """The agents a hostfile names, in its order and without repetitions. Never empty.

    `hostfile` is a path or an open text file, such as `sys.stdin` or `io.StringIO(text)`. Raises HostfileError, which
    names the file, the line (or the item of a JSON list), the value found and what was expected.
    """
    name, text = _read(hostfile)
    agents = _parse_json(name, text) if re.match(_JSON_LIST, text) else _parse_lines(name, text)
    endpoints = _without_repetitions(agents)
    if not endpoints:
        raise HostfileError(f"{name} names no host: expected one per line, as in 'node7' or 'node7<TAB>8000'")
    return endpoints


def write_hostfile(path: str | os.PathLike[str], endpoints: Iterable[EndpointLike]) -> None:
    """Write a hostfile with one line per endpoint, which `parse_hostfile` reads back to equal endpoints.

    The file appears whole or not at all: a reader, or another writer, never sees half of it. Raises HostfileError if
    a tag cannot be written (it has a tab or a line break in it, say) or the file cannot.
    """
    lines = [_written(as_endpoint(endpoint)) for endpoint in endpoints]
    _replace(os.fspath(path), "".join(f"{line}\n" for line in lines))


Agent = tuple[str, AgentEndpoint]
"""An endpoint, and the place in the file that names it."""


def _read(hostfile: Hostfile) -> tuple[str, str]:
    if not isinstance(hostfile, str | os.PathLike):
        return getattr(hostfile, "name", None) or "<hostfile>", hostfile.read()
    path = os.fspath(hostfile)
    try:
        with open(path, encoding="utf-8-sig") as file:
            return path, file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise HostfileError(f"{path} cannot be read: {error}") from error


def _without_repetitions(agents: Iterable[Agent]) -> list[AgentEndpoint]:
    seen: dict[str, Agent] = {}
    for place, endpoint in agents:
        first_place, first = seen.setdefault(endpoint.url, (place, endpoint))
        if first != endpoint:
            raise HostfileError(
                f"{place}: {endpoint.url} has the tags {endpoint.tags!r}, but {first.tags!r} at {first_place}"
            )
    return [endpoint for _, endpoint in seen.values()]


# Lines


def _parse_lines(name: str, text: str) -> Iterator[Agent]:
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{name}, line {number}"
        try:
            for endpoint in _parse_line(line):
                yield place, endpoint
        except (ValueError, TypeError) as error:
            raise HostfileError(f"{place}: {error}") from error


def _parse_line(line: str) -> Iterator[AgentEndpoint]:
    line = re.sub(_COMMENT, "", line)
    fields = [field.strip() for field in line.split("\t")] if "\t" in line.strip() else line.split()
    if not any(fields):
        return
    address, *rest = filter(None, fields)
    port = _parse_port(rest.pop(0)) if rest and "=" not in rest[0] else None
    tags = dict(map(_parse_tag, rest))
    if len(tags) < len(rest):
        raise ValueError(f"a tag is given twice in {' '.join(rest)!r}")
    for scheme, host, own_port in _parse_addresses(address):
        if port is not None and own_port is not None:
            raise ValueError(f"the port is given twice, as {own_port} in {address!r} and as {port}")
        yield AgentEndpoint(host, port or own_port or DEFAULT_PORT, tags, scheme)


def _parse_port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError(f"port must be 1 to 65535, got {text!r}")
    if not 1 <= int(text) <= 65535:
        raise ValueError(f"port must be 1 to 65535, got {text}")
    return int(text)


def _parse_tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"a tag must be written key=value, got {text!r}")
    return key, value


# Addresses

Address = tuple[str, str, int | None]
"""Scheme, host, and the port if the address names one."""


def _parse_addresses(text: str) -> Iterator[Address]:
    if "://" in text:
        yield _parse_url(text)
        return
    for part in re.split(_COMMA_OUTSIDE_BRACKETS, text):
        for address in _spread(part):
            yield _parse_address(address)


def _parse_url(text: str) -> Address:
    if "@" in text:
        raise ValueError("a URL in a hostfile must not carry a user or a password")
    match = re.fullmatch(_URL, text)
    if not match:
        raise ValueError(f"a URL must look like http://host:port or https://host:port, got {text!r}")
    scheme, host, port = match.groups()
    return scheme, host, _parse_port(port) if port else SCHEME_PORTS[scheme]


def _parse_address(text: str) -> Address:
    bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    host, colon, port = (text, "", "") if bare_ipv6 or text.endswith("]") else text.rpartition(":")
    if not colon:
        return "http", text, None
    number = _parse_port(port)
    if number < 1024 and number not in SCHEME_PORTS.values():
        raise ValueError(
            f"{text!r} may mean port {number} or {number} processes: "
            f"write '{host}' if you mean the processes, 'http://{text}' if you mean the port"
        )
    return "http", host, number


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


# JSON


def _parse_json(name: str, text: str) -> Iterator[Agent]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise HostfileError(f"{name}, line {error.lineno}: not valid JSON: {error.msg}") from error
    for number, item in enumerate(items, 1):
        place = f"{name}, item {number}"
        try:
            for endpoint in _parse_item(item):
                yield place, endpoint
        except (ValueError, TypeError) as error:
            raise HostfileError(f"{place}: {error}") from error


def _parse_item(item: Any) -> Iterator[AgentEndpoint]:
    match item:
        case str():
            for scheme, host, port in _parse_addresses(item):
                yield AgentEndpoint(host, DEFAULT_PORT if port is None else port, scheme=scheme)
        case [host, port]:
            yield as_endpoint((host, port))
        case dict():
            yield _parse_object(item)
        case _:
            raise ValueError(
                f'an agent must be "host:port", ["host", port] or {{"host": ..., "port": ...}}, got {item!r}'
            )


def _parse_object(item: dict[str, Any]) -> AgentEndpoint:
    if unknown := item.keys() - JSON_KEYS:
        raise ValueError(f"unknown key {min(unknown)!r}: an agent has {', '.join(sorted(JSON_KEYS))}")
    fields = dict(item)
    if "url" in fields:
        if clash := fields.keys() & {"host", "port", "scheme"}:
            raise ValueError(f"{min(clash)!r} is given beside 'url', which says it already")
        fields["scheme"], fields["host"], fields["port"] = _parse_url(str(fields.pop("url")))
    if "host" not in fields:
        raise ValueError(f"an agent needs 'host' or 'url', got {item!r}")
    return AgentEndpoint(**fields)


# Writing


def _written(endpoint: AgentEndpoint) -> str:
    tags = [f"{key}={value}" for key, value in endpoint.tags.items()]
    if endpoint.scheme == "http":
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        address = [host, str(endpoint.port)]
    else:
        address = [endpoint.url]
    line = "\t".join([*address, *tags])
    if not _reads_back(line, endpoint):
        raise HostfileError(f"{endpoint!r} cannot be written as the line {line!r} of a hostfile")
    return line


def _reads_back(line: str, endpoint: AgentEndpoint) -> bool:
    try:
        return not {"\n", "\r"} & set(line) and list(_parse_line(line)) == [endpoint]
    except ValueError:
        return False


def _replace(path: str, text: str) -> None:
    unfinished = f"{path}.{os.urandom(4).hex()}.unfinished"
    try:
        try:
            _create(unfinished, text)
            os.replace(unfinished, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(unfinished)
    except OSError as error:
        raise HostfileError(f"{path} cannot be written: {error}") from error


def _create(path: str, text: str) -> None:
    with open(path, "x", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
