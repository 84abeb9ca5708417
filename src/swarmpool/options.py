"""Constructor arguments, checked once, with errors that name the argument, the value and what was expected."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from aiohttp import Fingerprint

__all__ = [
    "PoolOptions",
    "VLLMOptions",
    "check_headers",
    "count",
    "count_or_none",
    "fraction",
    "seconds",
    "seconds_or_none",
    "text",
    "with_key",
]

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNSENDABLE = re.compile(r"[\r\n\0\ud800-\udfff]")  # would end the header, or is no character alone
_FRAMING = frozenset({"content-length", "expect", "transfer-encoding"})
_ENVIRONMENT_PREFIXES = ("SWARMPOOL_", "AURORA_SWARM_")


def count(name: str, value: object, *, at_least: int = 1) -> int:
    """`value` if it is a whole number of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, not {value}")
    return value


def count_or_none(name: str, value: object, *, at_least: int = 1) -> int | None:
    """The same, or None for "off"."""
    return None if value is None else count(name, value, at_least=at_least)


def seconds(name: str, value: object, *, zero: bool = False) -> float:
    """`value` if it is a finite number of seconds above 0 (or 0 itself, if `zero`)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = value = math.inf
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name} must be a number of seconds {'of at least' if zero else 'above'} 0, not {value}")
    return number


def seconds_or_none(name: str, value: object) -> float | None:
    """The same, or None for "off"."""
    return None if value is None else seconds(name, value)


def fraction(name: str, value: object) -> float:
    """`value` if it is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number from 0 to 1, not {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, not {value}")
    return float(value)


def text(name: str, value: object) -> str:
    """`value` if it is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    return value


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """What a tree is made with. `headers` and what they carry never show in a repr."""

    concurrency: int
    connector_limit: int
    timeout: float | None
    concurrency_per_agent: int | None
    queue_timeout: float | None
    max_waiting: int | None
    keepalive_timeout: float | None
    connect_timeout: float | None
    dns_ttl: float | None
    headers: Mapping[str, str] = field(repr=False)
    ssl: SSLContext | Fingerprint | bool = field(repr=False)

    def __post_init__(self) -> None:
        count("concurrency", self.concurrency)
        count("connector_limit", self.connector_limit)
        count_or_none("concurrency_per_agent", self.concurrency_per_agent)
        count_or_none("max_waiting", self.max_waiting, at_least=0)
        for name in ("timeout", "queue_timeout", "keepalive_timeout", "connect_timeout", "dns_ttl"):
            seconds_or_none(name, getattr(self, name))
        check_headers(self.headers)
        object.__setattr__(self, "headers", dict(self.headers))  # the caller's own may change
        if not isinstance(self.ssl, SSLContext | Fingerprint | bool):
            expected = "an ssl.SSLContext, an aiohttp.Fingerprint, True, False or None"
            raise TypeError(f"ssl must be {expected}, not {type(self.ssl).__name__}")

    @property
    def limit(self) -> int:
        """Requests in flight at most: a request needs a slot and a socket."""
        return min(self.concurrency, self.connector_limit)


def check_headers(headers: object) -> None:
    if not isinstance(headers, Mapping):
        raise TypeError(f"headers must be a mapping of names to values, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"headers has a name that HTTP does not allow: {name!r}")
        if name.lower() in _FRAMING:
            raise ValueError(f"headers must not have {name}: it says where a body ends, which differs by request")
        if not isinstance(value, str) or _UNSENDABLE.search(value):
            raise ValueError(f"headers[{name!r}] must be text on one line")  # not shown: it may be a secret


def with_key(headers: Mapping[str, str] | None, api_key: str | None) -> Mapping[str, str]:
    """`headers`, and `api_key` as the bearer token among them."""
    if api_key is None or not isinstance(headers, Mapping | None):
        return headers or {}
    if any(str(name).lower() == "authorization" for name in headers or ()):
        raise ValueError("api_key and headers['Authorization'] must not both be given: both are one header")
    key = text("api_key", api_key)
    if not key or not key.isprintable() or not key.isascii():
        raise ValueError("api_key must be printable ASCII text")  # not shown: it is a secret
    return {**(headers or {}), "Authorization": f"Bearer {key}"}


@dataclass(frozen=True, slots=True)
class VLLMOptions:
    """What a `VLLMPool` adds. None for a limit means: ask the server (`model`, `model_max_context`)."""

    model: str | None
    max_tokens: int
    max_tokens_aggregation: int
    model_max_context: int | None
    buffer: int
    use_batch: bool
    batch_concurrency: int
    timeout_per_sequence: float
    batch_timeout_cap: float | None
    sampling: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.model is not None and not text("model", self.model):
            raise ValueError("model must be a name or None, not an empty text")
        count("max_tokens", self.max_tokens, at_least=0)
        count("max_tokens_aggregation", self.max_tokens_aggregation, at_least=0)
        count_or_none("model_max_context", self.model_max_context)
        count("buffer", self.buffer, at_least=0)
        count("batch_concurrency", self.batch_concurrency)
        seconds("timeout_per_sequence", self.timeout_per_sequence)
        seconds_or_none("batch_timeout_cap", self.batch_timeout_cap)
        if not isinstance(self.use_batch, bool):
            raise TypeError(f"use_batch must be True or False, not {self.use_batch!r}")
        if not isinstance(self.sampling, Mapping):
            raise TypeError(f"sampling must be a mapping of parameters, not {type(self.sampling).__name__}")

    @classmethod
    def resolve(
        cls,
        *,
        max_tokens: int | None,
        max_tokens_aggregation: int | None,
        model_max_context: int | None,
        timeout_per_sequence: float | None,
        **others: Any,
    ) -> VLLMOptions:
        """Fill what was not given from the environment (`SWARMPOOL_...`), then from the defaults. 0 is a value."""
        if max_tokens is None:
            max_tokens = _from_environment("MAX_TOKENS", 512, count, at_least=0)
        if max_tokens_aggregation is None:
            doubled = 2 * max_tokens if isinstance(max_tokens, int) else 0
            max_tokens_aggregation = _from_environment("MAX_TOKENS_AGGREGATION", doubled, count, at_least=0)
        if model_max_context is None:
            model_max_context = _from_environment("MODEL_MAX_CONTEXT", None, count)
        if timeout_per_sequence is None:
            timeout_per_sequence = _from_environment("TIMEOUT_PER_SEQUENCE", 60.0, seconds)
        return cls(
            max_tokens=max_tokens,
            max_tokens_aggregation=max_tokens_aggregation,
            model_max_context=model_max_context,
            timeout_per_sequence=timeout_per_sequence,
            **others,
        )


def _from_environment(name: str, default: Any, check: Any, **limits: Any) -> Any:
    for prefix in _ENVIRONMENT_PREFIXES:
        text = os.environ.get(prefix + name)
        if text is not None and text.strip():
            return check(f"the environment variable {prefix}{name}", _number(prefix + name, text), **limits)
    return default


def _number(variable: str, text: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"the environment variable {variable} must be a number, not {text!r}") from None
