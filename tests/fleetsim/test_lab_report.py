from __future__ import annotations

import json
from dataclasses import replace

import aiohttp

from fleetsim.lab.report import as_json, summary
from fleetsim.lab.room import Account, Row

ACCOUNT = Account("some", "Some claim.", True, (Row("asked", "1", "2", "So."),), "one", (), "docs", 0.25)


def test_the_json_tells_versions_and_every_row() -> None:
    told = json.loads(as_json([ACCOUNT]))
    assert told["aiohttp"] == aiohttp.__version__
    (room,) = told["rooms"]
    assert (room["name"], room["agrees"], room["conclusion"], room["seconds"]) == ("some", True, "one", 0.25)
    assert room["rows"] == [{"done": "asked", "connector": "1", "fleet": "2", "why": "So."}]


def test_the_summary_counts_the_rooms_that_agree() -> None:
    accounts = [ACCOUNT, replace(ACCOUNT, agrees=False)]
    assert summary(accounts) == f"1 of 2 rooms came out as claimed in 0.5 s (aiohttp {aiohttp.__version__})"
