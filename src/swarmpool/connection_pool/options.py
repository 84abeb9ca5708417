"""What a connection pool is made with, checked once."""

from __future__ import annotations

from dataclasses import dataclass

from swarmpool.options import count, count_or_none, seconds, seconds_or_none, text

__all__ = ["ConnectionPoolOptions", "checked_timeout"]


@dataclass(frozen=True, slots=True)
class ConnectionPoolOptions:
    """The limits of one pool, in connections, callers and seconds; None = off. See `ConnectionPool`."""

    name: str
    max_session_duration: float | None
    mark_refreshed_on_get: bool
    max_age: float | None
    max_idle: float | None
    jitter: float
    max_size: int | None
    max_waiting: int | None
    max_dialing: int | None
    connect_timeout: float
    close_timeout: float
    reconnect_delay: float | None
    max_reconnect_delay: float
    seed: int | None

    def __post_init__(self) -> None:
        text("name", self.name)
        for name in ("max_session_duration", "max_age", "max_idle", "reconnect_delay"):
            seconds_or_none(name, getattr(self, name))
        for name in ("connect_timeout", "close_timeout", "max_reconnect_delay"):
            seconds(name, getattr(self, name))
        count_or_none("max_size", self.max_size)
        count_or_none("max_dialing", self.max_dialing)
        count_or_none("max_waiting", self.max_waiting, at_least=0)
        _check_jitter(self.jitter)
        if not isinstance(self.mark_refreshed_on_get, bool):
            raise TypeError(f"mark_refreshed_on_get must be True or False, not {self.mark_refreshed_on_get!r}")
        if self.seed is not None:
            count("seed", self.seed, at_least=0)


def checked_timeout(value: float | None) -> float | None:
    """The `timeout` of one call: seconds, 0 for what is there already, None for no limit."""
    return None if value is None else seconds("timeout", value, zero=True)


def _check_jitter(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"jitter must be a number from 0 to below 1, not {value!r}")
    if not 0 <= value < 1:
        raise ValueError(f"jitter must be a number from 0 to below 1, not {value}")
