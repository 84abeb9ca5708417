"""Hostfiles: the agents of a job, one per line, as schedulers and people write them.

Our own dialect has tabs between its fields, and is what `write_hostfile` writes unless told otherwise:

    host<TAB>port<TAB>key=value<TAB>key=value

The port defaults to 8000, and a `#` at the start of a field begins a comment. The other dialects differ in how an
agent is named, so that one grammar reads them all, also when they are mixed:

    node7                       a name or address alone; a PBS nodefile repeats it per slot: read once, order kept
    node7:8001  [::1]:8001      with its port
    http://node7:8001           a URL; without a port it means the scheme's own, 80 or 443; "/v1" at its end is dropped
    nid[001-004,007]:8001       a Slurm range, also `a,b` and several brackets; zeros in front are kept
    node7 slots=4               Open MPI: spaces instead of tabs, and `slots` is a tag like any other
    AGENTS=node7:8001,node8     that variable of a shell, also behind `export` and in quotes
    ["node7:8001", {"host": "node8", "port": 8001, "tags": {"rack": "a"}}]      a whole file of JSON
    [{"targets": ["node7:8001"], "labels": {"rack": "a"}}]      Prometheus' file-based service discovery

What is not clear is an error. MPICH's `node7:4` means four processes and not port 4, so that after a colon a port
below 1024 must be 80 or 443. The same address twice is read once, but with other tags it is an error. Who knows the
dialect can name it: then nothing else is read, and `node7:4` has the meaning that it has there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, TextIO

from swarmpool.dialects import ITEM_DIALECTS, LINE_DIALECTS, read_any_item, read_any_line
from swarmpool.endpoints import AgentEndpoint, EndpointLike, as_endpoint
from swarmpool.errors import HostfileError
from swarmpool.hostfile_text import hostfile_text

__all__ = ["AgentEndpoint", "parse_hostfile", "write_hostfile"]

# A JSON list holds text, objects, pairs or nothing; an IPv6 address in brackets looks like none of them.
_JSON_LIST: Final = r'\s*\[\s*["{\[\]]'

Hostfile = str | os.PathLike[str] | TextIO


def parse_hostfile(hostfile: Hostfile, dialect: str | None = None) -> list[AgentEndpoint]:
    """The agents a hostfile names, in its order and without repetitions. Never empty.

    `hostfile` is a path or an open text file, such as `sys.stdin` or `io.StringIO(text)`. `dialect` is one of "tsv",
    "hosts", "urls", "mpi", "pbs", "slurm", "env", "json" and "prometheus"; None takes each line for what it looks like.
    Raises HostfileError, which names the file, the line (or the item of a JSON list), the value found and what was
    expected.
    """
    if dialect is not None and dialect not in {**LINE_DIALECTS, **ITEM_DIALECTS}:
        expected = ", ".join([*LINE_DIALECTS, *ITEM_DIALECTS])
        raise ValueError(f"dialect must be one of {expected} or None, not {dialect!r}")
    name, text = _read(hostfile)
    endpoints = _without_repetitions(_parse(name, text, dialect))
    if not endpoints:
        raise HostfileError(f"{name} names no host: expected one per line, as in 'node7' or 'node7<TAB>8000'")
    return endpoints


def write_hostfile(
    path: str | os.PathLike[str], endpoints: Iterable[EndpointLike], dialect: str = "tsv", *, tags: bool = True
) -> None:
    """Write a hostfile that `parse_hostfile` reads back to equal endpoints.

    `dialect` is "tsv", "urls", "env" (`AGENTS=host:port,...`), "json" or "prometheus" (a file for `file_sd_configs`);
    with `tags` off the endpoints' tags are left out. The file appears whole or not at all: a reader, or another writer,
    never sees half of it. Raises HostfileError if a tag cannot be written (it has a tab or a line break in it, say, or
    the dialect has no tags) or the file cannot.
    """
    agents = [as_endpoint(endpoint) for endpoint in endpoints]
    if not tags:
        agents = [AgentEndpoint(agent.host, agent.port, scheme=agent.scheme) for agent in agents]
    _replace(os.fspath(path), hostfile_text(agents, dialect))


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


def _parse(name: str, text: str, dialect: str | None) -> Iterator[Agent]:
    if dialect in ITEM_DIALECTS or (dialect is None and re.match(_JSON_LIST, text)):
        return _placed(_items(name, text), ITEM_DIALECTS.get(dialect or "", read_any_item))
    lines = ((f"{name}, line {number}", line) for number, line in enumerate(text.split("\n"), 1))
    return _placed(lines, LINE_DIALECTS.get(dialect or "", read_any_line))


def _items(name: str, text: str) -> Iterator[tuple[str, Any]]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise HostfileError(f"{name}, line {error.lineno}: not valid JSON: {error.msg}") from error
    if not isinstance(items, list):
        raise HostfileError(f"{name}: expected a JSON list, got a JSON {type(items).__name__}")
    return ((f"{name}, item {number}", item) for number, item in enumerate(items, 1))


def _placed(parts: Iterable[tuple[str, Any]], read: Callable[[Any], Iterator[AgentEndpoint]]) -> Iterator[Agent]:
    for place, part in parts:
        try:
            for endpoint in read(part):
                yield place, endpoint
        except (ValueError, TypeError) as error:
            raise HostfileError(f"{place}: {error}") from error


def _without_repetitions(agents: Iterable[Agent]) -> list[AgentEndpoint]:
    seen: dict[str, Agent] = {}
    for place, endpoint in agents:
        first_place, first = seen.setdefault(endpoint.url, (place, endpoint))
        if first != endpoint:
            raise HostfileError(
                f"{place}: {endpoint.url} has the tags {endpoint.tags!r}, but {first.tags!r} at {first_place}"
            )
    return [endpoint for _, endpoint in seen.values()]


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
