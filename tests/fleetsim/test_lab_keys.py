from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from fleetsim.lab import keys
from fleetsim.lab.keys import SSL_MISMATCH
from fleetsim.lab.room import visit


def test_two_values_of_ssl_have_a_cap_each() -> None:
    account = visit(SSL_MISMATCH)
    assert account.problems == ()
    assert account.conclusion == "limit_per_host: 2   in flight: https 4, http 4"
    assert [row.fleet for row in account.rows] == 2 * ["open 2, in flight 2", "open 4, in flight 4"]


def test_a_client_that_says_it_once_is_held_to_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(session: ClientSession, url: str, said: dict[str, Any]) -> bytes:
        async with session.get(url) as response:
            return await response.read()

    monkeypatch.setattr(keys, "_get", get)
    monkeypatch.setattr("fleetsim.lab.room.ROOM_DEADLINE", 0.5)
    assert visit(SSL_MISMATCH).problems == ("not finished after 0.5 s",)
