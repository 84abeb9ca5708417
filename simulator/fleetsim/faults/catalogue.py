"""The catalogue: every fault by its name, its parameters, and what it does to the wire and to a client.

A fault is a small frozen class: one of the kinds in `kinds.py`, or an `Ending`, which writes the response. Its fields
are its parameters; each knows its unit, how its value is written, and checks it when the fault is made. To add one:
write the class in the module of its stage, decorate it with `catalogued`, and test what a raw socket and an aiohttp
client see of it. `python docs/faults.py` renews the docs page.

Written form, as in the request header `X-Fleet-Fault`: `name` or `name;parameter=value;parameter=value`, several
separated by commas.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Protocol, TypeVar

from fleetsim.errors import FaultError
from fleetsim.faults.told import EITHER, Told
from fleetsim.records import ConnectionLine, RequestLine

__all__ = [
    "Description",
    "Fault",
    "Parameter",
    "Rules",
    "Stage",
    "catalogued",
    "describe",
    "fault_names",
    "fault_types",
    "parse_fault",
    "parse_faults",
]

# In the order of the catalogue. They are imported when a fault is first looked up by name.
_MODULES = (
    "fleetsim.wire.endings",
    "fleetsim.faults.body",
    "fleetsim.faults.connect",
    "fleetsim.faults.request",
    "fleetsim.faults.head",
    "fleetsim.faults.stream",
    "fleetsim.faults.after",
    "fleetsim.faults.status",
    "fleetsim.faults.websocket",
    "fleetsim.faults.engine",
    "fleetsim.faults.process",
)


class Stage(enum.Enum):
    """Where in the life of a connection a fault strikes. Those of WEBSOCKET strike no request that asks for none."""

    CONNECT = "connect"
    REQUEST = "request"
    HEAD = "head"
    BODY = "body"
    STREAM = "stream"
    AFTER = "after"
    STATUS = "status"
    WEBSOCKET = "websocket"
    PROCESS = "process"

    @property
    def strikes_http(self) -> bool:
        """Whether a plain HTTP request can meet its faults."""
        return self is not Stage.WEBSOCKET


@dataclass(frozen=True, slots=True)
class Fault(ABC):
    """One thing that can go wrong. Raises FaultError when made with a value its parameter does not take.

    `wire` says what happens at TCP level, `aiohttp` and `httpx` what such a client sees of it. `told` is how a request
    ends for the caller of a client that is right; `told_of_stream` the same of a stream, None where that makes no
    difference. `strikes_next`: it is the next request on the connection
    that may fail.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    wire: ClassVar[str]
    aiohttp: ClassVar[str]
    httpx: ClassVar[str]
    told: ClassVar[Told] = EITHER
    told_of_stream: ClassVar[Told | None] = None
    strikes_next: ClassVar[bool] = False
    refusal: ClassVar[type[FaultError]] = FaultError

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _read(type(self), field, getattr(self, field.name)))

    def written(self) -> str:
        """Return the written form, without what is as by default; `parse_fault` reads it again."""
        fields = [field for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
        return ";".join([self.name, *(f"{field.name}={_shown(field, getattr(self, field.name))}" for field in fields)])


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a fault as the catalogue shows it. `default` is in its written form, "" for None."""

    name: str
    unit: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Description:
    """A fault as the catalogue shows it. `summary` is its docstring's first sentence; `told` is empty where none is."""

    name: str
    stage: Stage
    summary: str
    parameters: tuple[Parameter, ...]
    wire: str
    aiohttp: str
    httpx: str
    told: tuple[str, ...]


class Rules(Protocol):
    """Who chooses the faults. Both are asked in the server's loop, must not block, and are not asked twice."""

    def for_connection(self, line: ConnectionLine) -> Sequence[Fault]:
        """Return the faults for a connection that has just been accepted."""

    def for_request(self, line: RequestLine, headers: Mapping[str, str]) -> Sequence[Fault]:
        """Return the faults for a request whose head has been read, and whose body has not.

        `headers` looks names up without regard to case. Not asked about a request that names its faults itself.
        """


_CATALOGUE: dict[str, type[Fault]] = {}
_Kind = TypeVar("_Kind", bound=type[Fault])


def catalogued(kind: _Kind) -> _Kind:
    """Enter a fault class into the catalogue under its `name`."""
    if kind.name in _CATALOGUE:
        raise ValueError(f"the catalogue has a fault {kind.name!r} already")
    _CATALOGUE[kind.name] = kind
    return kind


def fault_types() -> tuple[type[Fault], ...]:
    """Return the classes in the catalogue, by stage."""
    for module in _MODULES:
        import_module(module)
    stages = list(Stage)
    return tuple(sorted(_CATALOGUE.values(), key=lambda kind: stages.index(kind.stage)))


def fault_names() -> tuple[str, ...]:
    """Return the names in the catalogue, by stage."""
    return tuple(kind.name for kind in fault_types())


def parse_fault(text: str) -> Fault:
    """Return the fault that `text` describes, such as `reset` or `stall;seconds=50ms`.

    Raises FaultError, in one sentence, for an unknown name or parameter and for a value that cannot be.
    """
    name, *pairs = (part.strip() for part in text.split(";"))
    kind = find(name)
    if kind is None:
        raise FaultError(f"unknown fault {name!r}; {_meant(name)}")
    return build(kind, pairs)


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Return the faults that `text` describes, separated by commas. Raises FaultError."""
    return tuple(parse_fault(part) for part in text.split(",") if part.strip())


def find(name: str) -> type[Fault] | None:
    """Return the class of that name; None if the catalogue has none."""
    if name not in _CATALOGUE:
        fault_types()
    return _CATALOGUE.get(name)


def build(kind: type[Fault], pairs: Sequence[str]) -> Fault:
    """Return a fault of `kind` with parameters written as `key=value`. Raises FaultError."""
    return kind(**dict(_pair(kind, pair) for pair in pairs if pair))


def describe() -> tuple[Description, ...]:
    """Return the whole catalogue, by stage."""
    return tuple(_described(kind) for kind in fault_types())


def _described(kind: type[Fault]) -> Description:
    parameters = tuple(_parameter(field) for field in dataclasses.fields(kind))
    summary = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    return Description(kind.name, kind.stage, summary, parameters, kind.wire, kind.aiohttp, kind.httpx, _told(kind))


def _told(kind: type[Fault]) -> tuple[str, ...]:
    if not kind.stage.strikes_http:
        return ()
    of_stream = () if kind.told_of_stream is None else (f"of a stream, {kind.told_of_stream}",)
    of_next = ("the next request on its connection may fail",) if kind.strikes_next else ()
    return (str(kind.told), *of_stream, *of_next)


def _parameter(field: dataclasses.Field[Any]) -> Parameter:
    default = "" if field.default is None else _shown(field, field.default)
    return Parameter(field.name, field.metadata["unit"], default, field.metadata["meaning"])


def _shown(field: dataclasses.Field[Any], value: object) -> str:
    show: Callable[[object], str] = field.metadata["show"]
    return show(value)


def _meant(name: str) -> str:
    names = fault_names()
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"expected one of {', '.join(names)}"


def _pair(kind: type[Fault], pair: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in pair.partition("="))
    names = [field.name for field in dataclasses.fields(kind)]
    if key not in names:
        expected = f"expected {', '.join(names)}" if names else "it takes none"
        raise kind.refusal(f"fault {kind.name!r} has no parameter {key!r}; {expected}")
    if not equals:
        raise kind.refusal(f"fault {kind.name!r}: expected {key}=value, got {pair!r}")
    return key, value


def _read(kind: type[Fault], field: dataclasses.Field[Any], value: object) -> object:
    read: Callable[[object], object] = field.metadata["read"]
    try:
        return read(value)
    except ValueError as error:
        raise kind.refusal(f"fault {kind.name!r}: {field.name}: {error}") from error
