from __future__ import annotations

from fleetsim import Fleet
from fleetsim.control.caller import Caller
from loadtests.figures import Figures
from loadtests.tables import FLEET_COLUMNS, MOST_ROWS, POOL_COLUMNS, fleet_rows, pool_rows
from swarmpool import Response


def test_each_server_is_a_row_with_every_column() -> None:
    with Fleet(3, tags=lambda index: {"rack": "ab"[index % 2], "n": str(index)}, control_port=0) as fleet:
        rows = fleet_rows(Caller(fleet.control_url).servers())
        assert [row["url"] for row in rows] == list(fleet.urls)
    assert all(row.keys() == FLEET_COLUMNS.keys() for row in rows)
    assert rows[1]["tags"] == "rack=b n=1"


def test_a_large_fleet_shows_its_first_servers() -> None:
    server = {"url": "", "state": "", "tags": {}, "open_now": 0, "in_flight": 0, "requests": 0}
    rows = fleet_rows({**server, "index": index} for index in range(4_000))
    assert [rows[0]["index"], rows[-1]["index"], len(rows)] == [0, MOST_ROWS - 1, MOST_ROWS]


def test_the_figures_are_rows_with_the_reuse_ratio_first() -> None:
    figures = Figures()
    figures.record("unary", 0.1, [Response(True, "", wire_seconds=0.1)] * 4)
    figures.connections |= {"opened": 1_000, "reused": 3_000, "open": 7}
    figures.care |= {"retried": 1_200, "ejected": 5, "probing": 4, "returned": 3, "ejected_now": 2}
    rows = pool_rows(figures)
    assert all(row.keys() == POOL_COLUMNS.keys() for row in rows)
    said = {row["figure"]: row["value"] for row in rows}
    assert next(iter(said.items())) == ("reuse ratio", "0.7500")
    assert said["connections opened, reused, open"] == "1,000 / 3,000 / 7"
    assert said["requests retried, hedged, won by the hedge"] == "1,200 / 0 / 0"
    assert said["agents ejected, probed, returned, left alone now"] == "5 / 4 / 3 / 2"
    assert said["responses, failed"] == "4 / 0"
    assert said["between tokens, p50 / p95 / p99 in ms"] == "- / - / -"


def test_before_the_first_response_there_is_nothing_yet() -> None:
    assert pool_rows(Figures())[0] == {"figure": "reuse ratio", "value": "none yet"}
