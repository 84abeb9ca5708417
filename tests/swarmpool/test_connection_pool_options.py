from __future__ import annotations

import math
from typing import Any

import pytest

from swarmpool import ConnectionPool
from swarmpool.connection_pool.options import checked_timeout


async def connect() -> object:
    return object()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_session_duration": 0}, "max_session_duration must be a number of seconds above 0, not 0"),
        ({"max_age": -1.0}, "max_age must be a number of seconds above 0, not -1.0"),
        ({"max_idle": math.nan}, "max_idle must be a number of seconds above 0, not nan"),
        ({"connect_timeout": math.inf}, "connect_timeout must be a number of seconds above 0, not inf"),
        ({"close_timeout": 0}, "close_timeout must be a number of seconds above 0, not 0"),
        ({"reconnect_delay": 0}, "reconnect_delay must be a number of seconds above 0, not 0"),
        ({"max_reconnect_delay": 0}, "max_reconnect_delay must be a number of seconds above 0, not 0"),
        ({"max_size": 0}, "max_size must be at least 1, not 0"),
        ({"max_dialing": 0}, "max_dialing must be at least 1, not 0"),
        ({"max_waiting": -1}, "max_waiting must be at least 0, not -1"),
        ({"jitter": 1}, "jitter must be a number from 0 to below 1, not 1"),
        ({"jitter": -0.1}, "jitter must be a number from 0 to below 1, not -0.1"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_a_value_out_of_range_is_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        ConnectionPool(connect_cb=connect, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_age": "1h"}, "max_age must be a number of seconds, not '1h'"),
        ({"connect_timeout": None}, "connect_timeout must be a number of seconds, not None"),
        ({"max_size": 1.5}, "max_size must be a whole number, not 1.5"),
        ({"jitter": "some"}, "jitter must be a number from 0 to below 1, not 'some'"),
        ({"jitter": True}, "jitter must be a number from 0 to below 1, not True"),
        ({"mark_refreshed_on_get": 1}, "mark_refreshed_on_get must be True or False, not 1"),
        ({"name": 7}, "name must be text, not int"),
        ({"close_cb": "close"}, "close_cb must be callable, not str"),
        ({"validate_cb": True}, "validate_cb must be callable, not bool"),
        ({"on_event": []}, "on_event must be callable, not list"),
        ({"connect_cb": 3}, "connect_cb must be callable, not int"),
    ],
)
def test_a_value_of_another_type_is_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError, match=f"^{sentence}$"):
        ConnectionPool(**{"connect_cb": connect, **options})


def test_a_timeout_may_be_nothing_or_zero_but_not_negative() -> None:
    assert [checked_timeout(value) for value in (None, 0, 2)] == [None, 0.0, 2.0]
    with pytest.raises(ValueError, match="timeout must be a number of seconds of at least 0, not -1"):
        checked_timeout(-1)


async def test_a_bad_timeout_takes_no_connection() -> None:
    async with ConnectionPool[object](connect_cb=connect) as pool:
        pool.put(await pool.get())
        for ask in (pool.get, pool.acquire):
            with pytest.raises(ValueError, match="timeout must be"):
                await ask(timeout=-1)
        assert (pool.statistics().idle, pool.statistics().leased) == (1, 0)
