"""The connections and requests that a rule is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from fleetsim.errors import RuleError
from fleetsim.records import RequestLine

__all__ = ["Where", "as_where"]


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_servers(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(_is_count(each, 0) for each in value)


_PATTERN = "*?["
_NTH = (lambda value: _is_count(value, 1), "a whole number of at least 1")
_WHERE_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "server": (_is_servers, "the index of a server, or several"),
    "tag": (_is_text, "key or key=value"),
    "route": (_is_text, "a path such as /v1/chat/*"),
    "header": (_is_text, "name or name=value"),
    "request": _NTH,
    "connection": _NTH,
}


@dataclass(frozen=True, slots=True)
class Where:
    """The connections and requests a rule is for. What is None does not matter; what is given must all hold.

    - `server`: index of a server, or several. `tag`: `key` or `key=value`.
    - `route`: the path, in which `*` stands for anything. `header`: `name` or `name=value`.
    - `request`: the n-th request of its connection, from 1.
    - `connection`: the n-th connection opened since the rule was armed, among the servers it is for, from 1.

    Raises RuleError naming the field, the value and what was expected.
    """

    server: int | tuple[int, ...] | None = None
    tag: str | None = None
    route: str | None = None
    header: str | None = None
    request: int | None = None
    connection: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.server, int):
            object.__setattr__(self, "server", (self.server,))
        elif isinstance(self.server, list):
            object.__setattr__(self, "server", tuple(self.server))
        for name, (accepts, expected) in _WHERE_CHECKS.items():
            value = getattr(self, name)
            if value is not None and not accepts(value):
                raise RuleError(f"where: {name}: expected {expected}, got {value!r}")

    @property
    def path(self) -> str | None:
        """The one path it is for; None if there may be several."""
        return None if self.route is None or any(sign in self.route for sign in _PATTERN) else self.route

    def is_for_server(self, index: int, tags: Mapping[str, str]) -> bool:
        """Whether server number `index`, which has these `tags`, is meant."""
        if isinstance(self.server, tuple) and index not in self.server:
            return False
        return self.tag is None or _has(tags, self.tag)

    def is_for_request(self, line: RequestLine, headers: Mapping[str, str]) -> bool:
        """Whether this request is meant, as far as the request alone tells."""
        if self.request is not None and line.on_connection != self.request:
            return False
        if self.route is not None and not fnmatchcase(line.path, self.route):
            return False
        return self.header is None or _has(headers, self.header)

    def written(self) -> dict[str, Any]:
        """Return what was given, as it is written in YAML and JSON."""
        given = {name: getattr(self, name) for name in _WHERE_CHECKS if getattr(self, name) is not None}
        if isinstance(self.server, tuple):
            given["server"] = self.server[0] if len(self.server) == 1 else list(self.server)
        return given


def _has(pairs: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    present = pairs.get(key.strip())
    return present is not None and (not equals or present == value.strip())


def as_where(value: object) -> Where:
    """Return `value`, a Where, a mapping of its fields or None, as a Where. Raises RuleError."""
    if value is None:
        return Where()
    if isinstance(value, Where):
        return value
    if not isinstance(value, Mapping):
        raise RuleError(f"where: expected a mapping of {', '.join(_WHERE_CHECKS)}, got {value!r}")
    for name in value:
        if name not in _WHERE_CHECKS:
            raise RuleError(f"where: {name}: unknown word; expected one of {', '.join(_WHERE_CHECKS)}")
    return Where(**value)
