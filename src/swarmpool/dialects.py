"""The dialects of hostfiles, each as a reader of one line or of one item of JSON. Pure.

Every reader raises ValueError or TypeError that says what was found and what was expected; the place is the caller's to
add.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from swarmpool.addresses import parse_address, parse_addresses, parse_port, parse_url
from swarmpool.endpoints import DEFAULT_PORT, AgentEndpoint, as_endpoint

__all__ = ["ITEM_DIALECTS", "LINE_DIALECTS", "SCHEME_LABEL", "read_any_item", "read_any_line"]

SCHEME_LABEL: Final = "__scheme__"
"""The label by which Prometheus is told to use https."""

_JSON_KEYS: Final = {"host", "port", "tags", "scheme", "url"}
_COMMENT: Final = r"(?:^|\s)#.*"
_VARIABLE: Final = r"\s*(?:export\s+)?(\w+)=(.*)"
_AGENTS: Final = r"\s*(?:export\s+)?AGENTS=(.*)"
_QUOTES: Final = ("'", '"')

Agents = Iterator[AgentEndpoint]


# Lines


def read_any_line(line: str) -> Agents:
    """A line of whatever dialect."""
    line = _without_comment(line)
    if agents := re.fullmatch(_AGENTS, line):
        return _list(agents[1])
    return _agents(_fields(line, only_tabs="\t" in line.strip()))


def _tsv(line: str) -> Agents:
    return _agents(_fields(_without_comment(line), only_tabs=True), ports=True)


def _hosts(line: str) -> Agents:
    return _agents(_fields(_without_comment(line)), ports=True)


def _urls(line: str) -> Agents:
    fields = _fields(_without_comment(line), only_tabs=True)
    if fields:
        parse_url(fields[0])  # raises unless it is one
    return _agents(fields)


def _mpi(line: str) -> Agents:
    """Open MPI's `host slots=4` and MPICH's `host:4`, which is four slots."""
    fields = _fields(_without_comment(line))
    if not fields:
        return iter(())
    host, tags = fields[0], _tags(fields[1:])
    if host.count(":") == 1:
        host, _, processes = host.partition(":")
        if not re.fullmatch("[0-9]+", processes):
            raise ValueError(f"a host of MPI must look like node7, node7:4 or node7 slots=4, got {fields[0]!r}")
        tags = {"slots": processes, **tags}
    return iter((AgentEndpoint(host, DEFAULT_PORT, tags),))


def _pbs(line: str) -> Agents:
    """A host alone, repeated for each of its slots."""
    host = line.strip()
    if parse_address(host, ports=True)[2] is not None:
        raise ValueError(f"a PBS nodefile has a host per line and nothing else, got {host!r}")
    return iter((AgentEndpoint(host),) if host else ())


def _slurm(line: str) -> Agents:
    """Hosts and ranges of them, separated by commas."""
    return _list(_without_comment(line))


def _env(line: str) -> Agents:
    """`AGENTS=host:port,host:port`, in quotes or not, behind `export` or not. Other variables are nobody's business."""
    line = _without_comment(line)
    if agents := re.fullmatch(_AGENTS, line):
        return _list(agents[1])
    if line.strip() and not re.fullmatch(_VARIABLE, line):
        raise ValueError(
            "a line must set a variable, as AGENTS=host:port,host:port does"
        )  # not shown: secrets live here
    return iter(())


LINE_DIALECTS: Final[Mapping[str, Callable[[str], Agents]]] = {
    "tsv": _tsv,
    "hosts": _hosts,
    "urls": _urls,
    "mpi": _mpi,
    "pbs": _pbs,
    "slurm": _slurm,
    "env": _env,
}


def _without_comment(line: str) -> str:
    return re.sub(_COMMENT, "", line)


def _fields(line: str, *, only_tabs: bool = False) -> list[str]:
    fields = (field.strip() for field in line.split("\t")) if only_tabs else line.split()
    return list(filter(None, fields))


def _agents(fields: Sequence[str], *, ports: bool = False) -> Agents:
    """An address, then a port if there is one, then tags."""
    if not fields:
        return
    address, *rest = fields
    port = parse_port(rest.pop(0)) if rest and "=" not in rest[0] else None
    tags = _tags(rest)
    for scheme, host, own_port in parse_addresses(address, ports=ports):
        if port is not None and own_port is not None:
            raise ValueError(f"the port is given twice, as {own_port} in {address!r} and as {port}")
        yield AgentEndpoint(host, port or own_port or DEFAULT_PORT, tags, scheme)


def _list(text: str) -> Agents:
    """Addresses that are separated by commas, in quotes or not."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
        text = text[1:-1].strip()
    for scheme, host, port in parse_addresses(re.sub(r"\s*,\s*", ",", text), ports=True) if text else ():
        yield AgentEndpoint(host, DEFAULT_PORT if port is None else port, scheme=scheme)


def _tags(fields: Iterable[str]) -> dict[str, str]:
    fields = list(fields)
    tags = dict(map(_parse_tag, fields))
    if len(tags) < len(fields):
        raise ValueError(f"a tag is given twice in {' '.join(fields)!r}")
    return tags


def _parse_tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"a tag must be written key=value, got {text!r}")
    return key, value


# Items of a JSON list


def read_any_item(item: Any) -> Agents:
    """An item of whatever JSON."""
    return _prometheus(item) if isinstance(item, dict) and "targets" in item else _json(item)


def _json(item: Any) -> Agents:
    match item:
        case str():
            for scheme, host, port in parse_addresses(item):
                yield AgentEndpoint(host, DEFAULT_PORT if port is None else port, scheme=scheme)
        case [host, port]:
            yield as_endpoint((host, port))
        case dict():
            yield _object(item)
        case _:
            raise ValueError(
                f'an agent must be "host:port", ["host", port] or {{"host": ..., "port": ...}}, got {item!r}'
            )


def _object(item: dict[str, Any]) -> AgentEndpoint:
    if unknown := item.keys() - _JSON_KEYS:
        raise ValueError(f"unknown key {min(unknown)!r}: an agent has {', '.join(sorted(_JSON_KEYS))}")
    fields = dict(item)
    if "url" in fields:
        if clash := fields.keys() & {"host", "port", "scheme"}:
            raise ValueError(f"{min(clash)!r} is given beside 'url', which says it already")
        fields["scheme"], fields["host"], fields["port"] = parse_url(str(fields.pop("url")))
    if "host" not in fields:
        raise ValueError(f"an agent needs 'host' or 'url', got {item!r}")
    return AgentEndpoint(**fields)


def _prometheus(item: Any) -> Agents:
    """A group of `<file_sd_config>`: targets, and labels that they share
    (https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config)."""
    match item:
        case {"targets": [*targets], "labels": dict(labels), **others} if not others:
            pass
        case {"targets": [*targets], **others} if not others:
            labels = {}
        case _:
            raise ValueError(f'a group must be {{"targets": ["host:port"], "labels": {{...}}}}, got {item!r}')
    tags = {name: value for name, value in labels.items() if name != SCHEME_LABEL}
    for target in targets:
        if not isinstance(target, str):
            raise TypeError(f'a target must be "host:port", got {target!r}')
        _, host, port = parse_address(target, ports=True)
        yield AgentEndpoint(host, DEFAULT_PORT if port is None else port, tags, labels.get(SCHEME_LABEL, "http"))


ITEM_DIALECTS: Final[Mapping[str, Callable[[Any], Agents]]] = {"json": _json, "prometheus": _prometheus}
