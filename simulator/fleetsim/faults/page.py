"""The catalogue as people read it: a line per fault, one fault in full, and the page of the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from fleetsim.faults.catalogue import Description, Parameter

__all__ = ["in_full", "listing", "page"]

_INTRODUCTION = """\
# Faults

Written by `python docs/faults.py` from the catalogue; `fleetsim faults` prints the same.

A fault is asked for by its name, `name;parameter=value;parameter=value`: the same in Python
(`with fleet[2].fault("reset", times=1):`), in a profile, on the command line (`fleetsim fault reset --server 3`), and,
from a loopback address, in the header of a single request, several separated by commas:

    curl -H 'X-Fleet-Fault: delay;seconds=50ms, truncated;after=100' http://127.0.0.1:8000/v1/models

`X-Fleet-Ending` is an alias of that header. A request that names its faults is not shown to the rules.

Of several faults for one request, delays and stalls add up, the last status replaces the reply, the last ending writes
the response (a stall beside another ending comes before its first byte), and each fault of the stages *request* and
*after* acts. The ledger's request record names them all in `faults`, a connection's record those of connecting. No
header can ask for those of the stages *connect* and *process*.

A request for a websocket is answered by a handshake, a response without a body: the faults of the other stages strike
that, and those of the stage *websocket* strike such requests and no others.

Which connection, request or server it strikes, and when, is said by a rule: see [rules.md](rules.md).

A duration is written as `80ms`, `1.5s` or `2m`.

What a right client tells its caller is what `fleetsim prove` holds clients to ([clients.md](clients.md)).
"""

_STAGES = {
    "connect": "As a connection is made. `refuse` and `accept_paused` hold for a server as a whole.",
    "request": "While the request is read, and before any answer.",
    "head": "In the response's head.",
    "body": "In the response's body. The first of them are whole responses, told apart by their writes and their EOF.",
    "stream": "In a stream of server-sent events; a unary answer is left as it is.",
    "after": "When the response is over.",
    "status": "In place of the server's own answer.",
    "websocket": "To a websocket, from its handshake on. A request that asks for none is never struck.",
    "process": (
        "To the server as a process; each holds for a server as a whole, and several at once add up. Requests that\n"
        "come or run while it holds have its name in their records, connections that are there as it begins in theirs."
    ),
}


def listing(catalogue: tuple[Description, ...]) -> str:
    """Return a line per fault, by stage."""
    return "\n\n".join("\n".join(_listed(stage, each)) for stage, each in _by_stage(catalogue))


def in_full(fault: Description) -> str:
    """Return all that is known of one fault, in plain text."""
    lines = [f"{fault.name} ({fault.stage.value})", f"  {fault.summary}"]
    lines += [f"  {each.name}: {_told(each)}" for each in fault.parameters]
    lines += [f"  wire: {fault.wire}", f"  aiohttp: {fault.aiohttp}", f"  httpx: {fault.httpx}"]
    return "\n".join([*lines, *[f"  a right client tells: {told}" for told in _promise(fault)]])


def page(catalogue: tuple[Description, ...]) -> str:
    """Return the page of the documentation, in Markdown."""
    sections = [_INTRODUCTION]
    for stage, faults in _by_stage(catalogue):
        sections.append(f"## {stage.capitalize()}\n\n{_STAGES[stage]}\n")
        sections += [_section(fault) for fault in faults]
    return "\n".join(sections)


def _by_stage(catalogue: tuple[Description, ...]) -> Iterator[tuple[str, list[Description]]]:
    for stage, faults in groupby(catalogue, key=lambda fault: fault.stage.value):
        yield stage, list(faults)


def _listed(stage: str, faults: list[Description]) -> Iterator[str]:
    yield stage
    for fault in faults:
        parameters = "".join(f";{each.name}={each.default or '...'}" for each in fault.parameters)
        yield f"  {fault.name + parameters:<34} {fault.summary}"


def _section(fault: Description) -> str:
    lines = [f"### {fault.name}", "", fault.summary, ""]
    lines += [f"- `{each.name}`: {_told(each)}" for each in fault.parameters]
    lines += [f"- wire: {fault.wire}", f"- aiohttp: {fault.aiohttp}", f"- httpx: {fault.httpx}"]
    return "\n".join([*lines, *[f"- a right client tells: {told}" for told in _promise(fault)], ""])


def _promise(fault: Description) -> list[str]:
    return ["; ".join(fault.told) + "."] if fault.told else []


def _told(parameter: Parameter) -> str:
    default = f", by default {parameter.default}" if parameter.default else ""
    return f"{parameter.unit}, {parameter.meaning}{default}"
