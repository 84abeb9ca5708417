"""Endpoints as the text of a hostfile, in each dialect that is written. Pure.

What is written must be read back as it was: each writer asks the reader, or refuses what its dialect cannot hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from swarmpool.dialects import LINE_DIALECTS, SCHEME_LABEL, read_any_line
from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import HostfileError

__all__ = ["hostfile_text"]

# https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels: names that begin with "__" are its own.
_LABEL: Final = r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*"


def hostfile_text(endpoints: Sequence[AgentEndpoint], dialect: str) -> str:
    """The whole file. Raises HostfileError for an endpoint that the dialect cannot hold."""
    if dialect not in _WRITERS:
        raise ValueError(f"dialect must be one of {', '.join(_WRITERS)} to be written, not {dialect!r}")
    return _WRITERS[dialect](endpoints)


def _tsv(endpoints: Sequence[AgentEndpoint]) -> str:
    return "".join(f"{_line(endpoint, 'tsv')}\n" for endpoint in endpoints)


def _urls(endpoints: Sequence[AgentEndpoint]) -> str:
    return "".join(f"{_line(endpoint, 'urls')}\n" for endpoint in endpoints)


def _line(endpoint: AgentEndpoint, dialect: str) -> str:
    tags = [f"{key}={value}" for key, value in endpoint.tags.items()]
    if dialect == "tsv" and endpoint.scheme == "http":
        address = [f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host, str(endpoint.port)]
    else:
        address = [endpoint.url]
    line = "\t".join([*address, *tags])
    if not _reads_back(line, dialect, endpoint):
        raise HostfileError(f"{endpoint!r} cannot be written as the line {line!r} of a hostfile")
    return line


def _reads_back(line: str, dialect: str, endpoint: AgentEndpoint) -> bool:
    """Whether it is one line, and means that endpoint to those who know the dialect and to those who do not."""
    try:
        readings = [list(read(line)) for read in (LINE_DIALECTS[dialect], read_any_line)]
        return line.encode().splitlines() == [line.encode()] and readings == [[endpoint]] * 2
    except ValueError:
        return False


def _env(endpoints: Sequence[AgentEndpoint]) -> str:
    return f"AGENTS={','.join(map(_entry, endpoints))}\n"


def _entry(endpoint: AgentEndpoint) -> str:
    if endpoint.tags:
        raise HostfileError(f"{endpoint!r} has tags, which the dialect 'env' cannot hold: leave them out (tags=False)")
    entry = endpoint.url if endpoint.scheme == "https" else _located(endpoint)
    if not _reads_back(f"AGENTS={entry}", "env", endpoint):
        raise HostfileError(f"{endpoint!r} cannot be written as {entry!r} in a variable")
    return entry


def _json(endpoints: Sequence[AgentEndpoint]) -> str:
    return _list(_object(endpoint) for endpoint in endpoints)


def _object(endpoint: AgentEndpoint) -> dict[str, Any]:
    tags = {"tags": dict(endpoint.tags)} if endpoint.tags else {}
    scheme = {"scheme": endpoint.scheme} if endpoint.scheme != "http" else {}
    return {"host": endpoint.host, "port": endpoint.port, **scheme, **tags}


def _prometheus(endpoints: Sequence[AgentEndpoint]) -> str:
    """Neighbours with the same labels are a group, so that the order is kept."""
    groups = groupby(endpoints, key=_labels)
    return _list(
        {"targets": list(map(_located, group)), **({"labels": labels} if labels else {})} for labels, group in groups
    )


def _labels(endpoint: AgentEndpoint) -> Mapping[str, str]:
    for key in endpoint.tags:
        if not re.fullmatch(_LABEL, key):
            raise HostfileError(f"{endpoint!r} has the tag {key!r}, which is no name of a Prometheus label")
    scheme = {SCHEME_LABEL: endpoint.scheme} if endpoint.scheme != "http" else {}
    return {**scheme, **endpoint.tags}


def _located(endpoint: AgentEndpoint) -> str:
    return endpoint.url.partition("://")[2]


def _list(items: Iterable[Any]) -> str:
    """A JSON list with a line for each item; ASCII, as what reads it may not know its encoding."""
    lines: Iterator[str] = map(json.dumps, items)
    return "[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]\n"


_WRITERS: Final[Mapping[str, Callable[[Sequence[AgentEndpoint]], str]]] = {
    "tsv": _tsv,
    "urls": _urls,
    "env": _env,
    "json": _json,
    "prometheus": _prometheus,
}
