"""Where an agent listens: `AgentEndpoint`, an immutable address with tags."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

__all__ = ["DEFAULT_PORT", "AgentEndpoint", "EndpointLike", "Located", "Tags", "as_endpoint", "as_endpoints"]

DEFAULT_PORT: Final = 8000
"""The port `vllm serve` listens on unless told otherwise."""

SCHEMES: Final = ("http", "https")
# What would end the host part of a URL or could not be sent in a Host header.
NOT_IN_A_HOST: Final = frozenset("/\\?#@[]<>^|%:\"'`{} \t\r\n")


class Tags(Mapping[str, str]):
    """Tags of one agent: a mapping of strings that cannot be changed and can be hashed.

    Equal to any mapping with the same items. Raises TypeError if a key or a value is no string, ValueError for an
    empty key.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | None = None) -> None:
        if not isinstance(items, Mapping | None):
            raise TypeError(f"tags must be a mapping of strings to strings, got {items!r}")
        for key, value in (items or {}).items():
            _check_tag(key, value)
        self._items = dict(items or {})

    def __getitem__(self, key: str) -> str:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


NO_TAGS: Final = Tags()


@dataclass(frozen=True, slots=True)
class AgentEndpoint:
    """The address of one agent, and the tags by which views select it.

    `host` is a name or an IP address (IPv6 with or without brackets, kept without), `port` is 1 to 65535, `tags` maps
    strings to strings and is copied, `scheme` is "http" or "https". Endpoints compare by value and can be hashed.
    Raises TypeError or ValueError naming the field and its value.
    """

    host: str
    port: int = DEFAULT_PORT
    tags: Mapping[str, str] = NO_TAGS
    scheme: str = "http"

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", _checked_host(self.host))
        _check_port(self.port)
        if not isinstance(self.tags, Tags):
            object.__setattr__(self, "tags", Tags(self.tags))
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme must be 'http' or 'https', got {self.scheme!r}")

    @property
    def url(self) -> str:
        """The agent's address without a path, as in "http://10.0.0.7:8000" or "http://[::1]:8000"."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Located(Protocol):
    """Anything that says where it listens, such as a fake server. Its `tags` and `scheme` are read if present."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


EndpointLike = AgentEndpoint | Located | tuple[str, int]
"""What may stand for an endpoint wherever one is asked for."""


def as_endpoint(value: EndpointLike) -> AgentEndpoint:
    """The endpoint that `value` is, or describes by its attributes, or means as a pair `(host, port)`.

    Raises TypeError for anything else, and what `AgentEndpoint` raises.
    """
    match value:
        case AgentEndpoint():
            return value
        case object(host=host, port=port):
            return AgentEndpoint(host, port, getattr(value, "tags", NO_TAGS), getattr(value, "scheme", "http"))
        case (host, port):
            return AgentEndpoint(host, port)
    raise TypeError(f"an endpoint must be an AgentEndpoint or a (host, port) pair, got {value!r}")


def _checked_host(host: str) -> str:
    if not isinstance(host, str):
        raise TypeError(f"host must be a string, got {host!r}")
    if not host:
        raise ValueError("host must not be empty")
    bare = host[1:-1] if host[0] == "[" and host[-1] == "]" else host
    if _is_ipv6(bare):
        return bare
    if bare != host or ":" in host:
        raise ValueError(f"host must be a name or an IP address without a port, got {host!r}")
    if not NOT_IN_A_HOST.isdisjoint(host) or not host.isprintable():
        raise ValueError(f"host must be a name or an IP address, got {host!r}")
    return host


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _check_port(port: object) -> None:
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be an integer, got {port!r}")
    if not 1 <= port <= 65535:
        raise ValueError(f"port must be 1 to 65535, got {port}")


def _check_tag(key: str, value: str) -> None:
    if not isinstance(key, str):
        raise TypeError(f"tags must have strings as keys, got {key!r}")
    if not key:
        raise ValueError(f"tags must not have an empty key, got one with the value {value!r}")
    if not isinstance(value, str):
        raise TypeError(f"tags[{key!r}] must be a string, got {value!r}")


def as_endpoints(items: object) -> list[AgentEndpoint]:
    """Each item as `as_endpoint` has it; an error says which one it is about."""
    if isinstance(items, str) or not isinstance(items, Iterable):
        raise TypeError(f"endpoints must be a collection of endpoints, not {items!r}")
    return [_endpoint(item, index) for index, item in enumerate(items)]


def _endpoint(item: Any, index: int) -> AgentEndpoint:
    try:
        return as_endpoint(item)
    except (TypeError, ValueError) as error:
        raise type(error)(f"endpoints[{index}]: {error}") from error
