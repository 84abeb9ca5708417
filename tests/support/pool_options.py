"""Options of a connection pool for tests of its parts: everything off but what is given."""

from __future__ import annotations

from typing import Any

from swarmpool.connection_pool.options import ConnectionPoolOptions

__all__ = ["options"]


def options(**given: Any) -> ConnectionPoolOptions:
    """As said."""
    off: dict[str, Any] = {
        "name": "pool",
        "max_session_duration": None,
        "mark_refreshed_on_get": False,
        "max_age": None,
        "max_idle": None,
        "jitter": 0.0,
        "max_size": None,
        "max_waiting": None,
        "max_dialing": None,
        "connect_timeout": 10.0,
        "close_timeout": 5.0,
        "reconnect_delay": None,
        "max_reconnect_delay": 30.0,
        "seed": 1,
    }
    return ConnectionPoolOptions(**(off | given))
