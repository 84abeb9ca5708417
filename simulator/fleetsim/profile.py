"""What one server is: its model, its speed, its manners on the wire.

A `Profile` is frozen and checked whole when it is made, so a server that starts has nothing left to complain about.
The defaults are instant answers and vLLM's own settings (5 s keep-alive: `VLLM_HTTP_TIMEOUT_KEEP_ALIVE`; backlog 2048:
uvicorn).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from fleetsim.errors import FaultError
from fleetsim.units import parse_duration
from fleetsim.wire.websocket_settings import WEBSOCKET_CHECKS, WebSocketSettings

if TYPE_CHECKING:
    from fleetsim.faults.rules import Rule
    from fleetsim.faults.scripts import ScriptRule

__all__ = ["Profile", "ProfileError"]

_OF_WEBSOCKETS = {f"ws_{name}": name for name in WEBSOCKET_CHECKS}
_DURATIONS = frozenset(
    {
        "ttft",
        "itl",
        "prefill_per_token",
        "keepalive_timeout",
        "ws_session_deadline",
        "ws_idle_deadline",
        "ws_ping_interval",
        "ws_ping_timeout",
    }
)
_SECRETS = frozenset({"api_key"})
_MOST_TOKENS = 2**31 - 1


class ProfileError(ValueError):
    """A profile that cannot be: says where (`file:line`), which key, the value, and what was expected."""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _is_number_or_none(value: object) -> bool:
    return value is None or _is_number(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_TOKENS


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_name_or_none(value: object) -> bool:
    return value is None or _is_name(value)


def _is_jitter(value: object) -> bool:
    return value in ("none", "normal", "lognormal")


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_sequence(value: object) -> bool:
    return isinstance(value, (list, tuple))


_SECONDS = (_is_number, "seconds, as a number of at least 0 (Profile.parse also takes 80ms)")
_COUNT = (_is_count, "a whole number of at least 1")
_CHECKS: dict[str, tuple[Callable[[object], bool], str]] = {
    "model": (_is_name, "a name"),
    "max_model_len": _COUNT,
    "ttft": _SECONDS,
    "itl": _SECONDS,
    "prefill_per_token": _SECONDS,
    "jitter": (_is_jitter, "none, normal or lognormal"),
    "spread": (_is_number, "a number of at least 0, such as 0.1 for 10 percent"),
    "output_tokens": _COUNT,
    "embedding_dimensions": _COUNT,
    "keepalive_timeout": (_is_number_or_none, "seconds, as a number of at least 0, or null for never"),
    "backlog": _COUNT,
    "ending": (_is_name_or_none, "a name, or null"),
    "faults": (_is_sequence, "a list of faults"),
    "api_key": (_is_name_or_none, "text, or null"),
    "server_load_tracking": (_is_switch, "true or false"),
    "server_dev_mode": (_is_switch, "true or false"),
    "tls": (_is_switch, "true or false"),
    "seed": (_is_integer, "a whole number"),
    **{key: WEBSOCKET_CHECKS[name] for key, name in _OF_WEBSOCKETS.items()},
}


def _shown(key: str, value: object) -> str:
    return "<hidden>" if key in _SECRETS and value is not None else repr(value)


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server's settings. Durations are seconds; `None` switches off.

    Raises ProfileError when a value is out of range. `Profile.parse` and `Profile.load` take durations with units.

    - `model`: served model name. `max_model_len`: context length, in tokens.
    - `ttft`: time to first token; `itl`: time between tokens; `prefill_per_token`: added to `ttft` per prompt token.
    - `jitter`: how each of these delays varies (`none`, `normal`, `lognormal`); `spread`: its standard deviation as a
      fraction of the mean.
    - `output_tokens`: length of an answer that ends by itself.
    - `embedding_dimensions`: length of one embedding.
    - `keepalive_timeout`: idle time after which the server closes a connection; None never does.
    - `backlog`: connections the kernel queues before they are accepted.
    - `ending`: name of the way every response ends; None ends as vLLM does.
    - `faults`: the rules that choose faults, each the text of a fault, a mapping with `fault` and the words of
      `fleetsim.faults.rules.Rule`, or a mapping with `script`, as in `fleetsim.faults.scripts.ScriptRule`.
    - `api_key`: required as a bearer token on `/v1...`; never shown in the repr.
    - `server_load_tracking`: whether `/load` counts, as vLLM's `--enable-server-load-tracking`.
    - `server_dev_mode`: whether there are `/sleep`, `/wake_up` and `/is_sleeping`, as with VLLM_SERVER_DEV_MODE.
    - `tls`: whether the servers speak TLS, with a certificate made for the fleet.
    - `seed`: chooses words and jitter, unless the fleet is given one.
    - `ws_session_deadline`, `ws_idle_deadline`: age, or time without a message, at which the server closes a websocket
      with `ws_deadline_code`. `ws_ping_interval`, `ws_ping_timeout`: its pings. `ws_max_size`: bytes that a message of
      the client's may have. See `fleetsim.wire.websocket_settings`.
    """

    model: str = "sim"
    max_model_len: int = 32_768
    ttft: float = 0.0
    itl: float = 0.0
    prefill_per_token: float = 0.0
    jitter: Literal["none", "normal", "lognormal"] = "none"
    spread: float = 0.1
    output_tokens: int = 64
    embedding_dimensions: int = 384
    keepalive_timeout: float | None = 5.0
    backlog: int = 2_048
    ending: str | None = None
    faults: tuple[Rule | ScriptRule, ...] = ()
    api_key: str | None = None
    server_load_tracking: bool = False
    server_dev_mode: bool = False
    tls: bool = False
    seed: int = 0
    ws_session_deadline: float | None = None
    ws_idle_deadline: float | None = None
    ws_deadline_code: int = 1001
    ws_ping_interval: float | None = 20.0
    ws_ping_timeout: float | None = 20.0
    ws_max_size: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        for key, (accepts, expected) in _CHECKS.items():
            value = getattr(self, key)
            if not accepts(value):
                raise ProfileError(f"{key}: expected {expected}, got {_shown(key, value)}")
        if self.faults:
            msgspec.structs.force_setattr(self, "faults", _rules(self.faults))

    def __repr__(self) -> str:
        """Only what differs from the defaults, and no secret."""
        parts = [f"{key}={_shown(key, value)}" for key, value in self._changed()]
        return f"Profile({', '.join(parts)})"

    def __rich_repr__(self) -> Any:
        for key, value in self._changed():
            yield key, "<hidden>" if key in _SECRETS else value

    def _changed(self) -> list[tuple[str, object]]:
        values = ((key, getattr(self, key)) for key in self.__struct_fields__)
        return [(key, value) for key, value in values if value != getattr(_DEFAULT, key)]

    @property
    def websockets(self) -> WebSocketSettings:
        """The settings whose names begin with `ws_`, as a server takes them."""
        return WebSocketSettings(**{name: getattr(self, key) for key, name in _OF_WEBSOCKETS.items()})

    @classmethod
    def parse(cls, settings: Mapping[str, Any], /, *, base: Profile | None = None) -> Profile:
        """Return the profile that `settings` describes, over `base` or over the defaults.

        Durations may carry units (`"80ms"`). Raises ProfileError naming the key, the value and what was expected.
        """
        return _build(settings, base or _DEFAULT, where={}, source=None)

    @classmethod
    def load(cls, path: str | PathLike[str], /, *, base: Profile | None = None) -> Profile:
        """Return the profile in the YAML file `path`, over `base` or over the defaults.

        Raises ProfileError naming file and line when the file cannot be read, is no mapping, or holds a bad value.
        """
        source = str(path)
        settings, where = _read_yaml(source)
        return _build(settings, base or _DEFAULT, where=where, source=source)


_DEFAULT = Profile()


def _build(settings: Mapping[str, Any], base: Profile, *, where: Mapping[str, int], source: str | None) -> Profile:
    values = msgspec.structs.asdict(base)
    profile = base
    for key, written in settings.items():
        try:
            values[key] = _converted(key, written)
            profile = Profile(**values)
        except _FaultsError as error:
            raise ProfileError(f"{_place(source, where.get(error.key, where.get(key)))}{error}") from error
        except ProfileError as error:
            raise ProfileError(f"{_place(source, where.get(key))}{error}") from error
    return profile


class _FaultsError(ProfileError):
    """One of `faults` cannot be; `key` says which, as `faults[2]`."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(f"{key}: {reason}")


def _rules(written: Sequence[object]) -> tuple[Rule | ScriptRule, ...]:
    from fleetsim.faults.scripts import parse_rule  # noqa: PLC0415 (a server without faults can be described without the wire)

    rules: list[Rule | ScriptRule] = []
    for index, each in enumerate(written):
        try:
            rules.append(parse_rule(each))
        except FaultError as error:
            raise _FaultsError(f"faults[{index}]", str(error)) from error
    return tuple(rules)


def _converted(key: str, written: Any) -> Any:
    if key not in Profile.__struct_fields__:
        raise ProfileError(_unknown(key))
    if written is None:
        return written
    try:
        if key == "ending" and isinstance(written, str):
            _check_ending(written)
        return parse_duration(written) if key in _DURATIONS else written
    except ValueError as error:
        raise ProfileError(f"{key}: {error}") from error


def _check_ending(written: str) -> None:
    from fleetsim.wire.endings import parse_ending  # noqa: PLC0415 (the wire is not needed to describe a server)

    parse_ending(written)


def _unknown(key: object) -> str:
    known = Profile.__struct_fields__
    close = difflib.get_close_matches(str(key), known, n=1)
    if close:
        return f"{key}: unknown key; did you mean {close[0]}?"
    return f"{key}: unknown key; expected one of {', '.join(known)}"


def _place(source: str | None, line: int | None) -> str:
    if source is None:
        return ""
    return f"{source}: " if line is None else f"{source}:{line}: "


def _read_yaml(source: str) -> tuple[dict[str, Any], dict[str, int]]:
    import yaml  # noqa: PLC0415 (only profiles in files need it; a fleet in a test should start without it)

    try:
        root = yaml.compose(Path(source).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ProfileError(f"{source}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProfileError(f"{source}: expected UTF-8 text, got byte {error.object[error.start]:#04x}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ProfileError(
            f"{_place(source, mark.line + 1 if mark else None)}no valid YAML: {error.problem}"
        ) from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{source}: no valid YAML: {' '.join(str(error).split())}") from error
    return _mapping_with_lines(source, root)


def _mapping_with_lines(source: str, root: Any) -> tuple[dict[str, Any], dict[str, int]]:
    import yaml  # noqa: PLC0415 (see _read_yaml)

    if root is None:
        return {}, {}
    if not isinstance(root, yaml.MappingNode):
        raise ProfileError(f"{_place(source, root.start_mark.line + 1)}expected `key: value` lines, got a {root.id}")
    settings: dict[str, Any] = {}
    where: dict[str, int] = {}
    construct = yaml.SafeLoader("").construct_object
    for key_node, value_node in root.value:
        line = key_node.start_mark.line + 1
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
        if key in settings:
            _refuse_twice(source, line, key, where[key])
        try:
            settings[key], where[key] = construct(value_node, deep=True), line
            where.update(_lines_of_items(key, value_node))
        except yaml.YAMLError as error:
            raise ProfileError(f"{_place(source, line)}{key}: expected a plain value, got {value_node.tag}") from error
    return settings, where


def _lines_of_items(key: str, node: Any) -> dict[str, int]:
    import yaml  # noqa: PLC0415 (see _read_yaml)

    if not isinstance(node, yaml.SequenceNode):
        return {}
    return {f"{key}[{index}]": item.start_mark.line + 1 for index, item in enumerate(node.value)}


def _refuse_twice(source: str, line: int, key: str, first: int) -> NoReturn:
    raise ProfileError(f"{source}:{line}: {key}: given twice; expected one value (the first is on line {first})")
