from __future__ import annotations

import pytest

from fleetsim.faults.where import Where


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        (Where(), True),
        (Where(server=3), True),
        (Where(server=(1, 3)), True),
        (Where(server=1), False),
        (Where(tag="rack"), True),
        (Where(tag="rack=a"), True),
        (Where(tag="rack=b"), False),
        (Where(tag="gpu"), False),
        (Where(server=3, tag="rack=b"), False),
    ],
)
def test_a_server_is_meant_by_index_and_tag(where: Where, meant: bool) -> None:
    assert where.is_for_server(3, {"rack": "a"}) is meant


@pytest.mark.parametrize(
    ("route", "path"),
    [(None, None), ("/v1/models", "/v1/models"), ("/v1/*", None), ("/v?/models", None), ("/[ab]", None)],
)
def test_a_route_without_a_pattern_is_one_path(route: str | None, path: str | None) -> None:
    assert Where(route=route).path == path
