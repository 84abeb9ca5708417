from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from swarmpool import ConnectionPool
from swarmpool.connection_pool.callbacks import finished, takes_timeout


class Session:
    async def ws_connect(self, url: str, *, timeout: float = 1.0) -> str:
        return url


async def with_timeout(timeout: float) -> str:
    return f"within {timeout}"


async def with_nothing() -> str:
    return "with nothing"


@pytest.mark.parametrize(
    ("callback", "wanted"),
    [
        pytest.param(with_timeout, True, id="a coroutine function"),
        pytest.param(lambda seconds: None, True, id="any name"),
        pytest.param(lambda *args: None, True, id="any number"),
        pytest.param(lambda timeout=3: None, True, id="by its name"),
        pytest.param(with_nothing, False, id="nothing"),
        pytest.param(lambda url="wss://host": None, False, id="only defaults"),
        pytest.param(lambda **kwargs: None, False, id="only keywords"),
        pytest.param(partial(Session().ws_connect, "wss://host"), False, id="a partial"),
    ],
)
def test_a_callback_gets_the_timeout_if_it_can_take_it(callback: Callable[..., object], wanted: bool) -> None:
    assert takes_timeout("connect_cb", callback) is wanted


@pytest.mark.parametrize("callback", [lambda timeout, url: None, lambda *, url: None], ids=["positional", "keyword"])
def test_a_callback_that_needs_more_is_an_error(callback: Any) -> None:
    with pytest.raises(TypeError, match=r"^connect_cb must take the timeout in seconds, or nothing: "):
        ConnectionPool(connect_cb=callback)


async def test_what_can_be_awaited_is() -> None:
    assert [await finished("plain"), await finished(with_nothing())] == ["plain", "with nothing"]


@pytest.mark.parametrize("callback", [with_timeout, with_nothing])
async def test_the_pool_calls_it_as_it_wants(callback: Any) -> None:
    async with ConnectionPool[str](connect_cb=callback, connect_timeout=2.0) as pool:
        assert await pool.get() in ("within 2.0", "with nothing")
        await pool.aclose(drain=None)
