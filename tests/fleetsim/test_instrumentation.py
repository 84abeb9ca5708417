from __future__ import annotations

import pytest
from asking import app, get, post

from fleetsim.profile import Profile


@pytest.mark.parametrize("path", ["/health", "/ping"])
async def test_health_is_an_empty_body_without_a_type(path: str) -> None:
    reply = await get(path)
    assert (reply.status, reply.body, reply.content_type) == (200, b"", None)


async def test_a_ping_may_be_posted() -> None:
    assert (await post("/ping", None, headers={})).body == b""


async def test_the_version_is_vllms() -> None:
    assert (await get("/version")).body == b'{"version":"0.33.0"}'


@pytest.mark.parametrize(("tracking", "load"), [(False, 0), (True, 4)])
async def test_the_load_is_counted_where_the_profile_says_so(tracking: bool, load: int) -> None:
    """The request that asks is under way too, and is not load."""
    answer = app(Profile(server_load_tracking=tracking), in_flight=5)
    assert (await get("/load", answer)).body == b'{"server_load":%d}' % load
