from __future__ import annotations

import json

import peer_results as made
import pytest

from loadtests.bench.peers.results import SCHEMA, Results


def test_what_is_written_is_read_again() -> None:
    before = made.results(made.cell("swarmpool", "fleetsim", 64, 2, opened=0.5), left_out=("No x.",))
    after = Results.read(json.loads(json.dumps(before.written())))
    assert after == before
    assert after.written()["schema"] == SCHEMA


@pytest.mark.parametrize("schema", [None, 0, SCHEMA + 1])
def test_another_schema_is_refused(schema: int | None) -> None:
    written = made.results(made.cell("a", "b")).written()
    with pytest.raises(ValueError, match=f"^schema: expected {SCHEMA}, got {schema}"):
        Results.read({**written, "schema": schema})


def test_what_does_not_follow_the_schema_is_refused() -> None:
    written = made.results(made.cell("a", "b")).written()
    with pytest.raises(ValueError, match=r"^results: expected those of schema 1, got KeyError\('starts'\)"):
        Results.read({name: value for name, value in written.items() if name != "starts"})
    with pytest.raises(ValueError, match=r"^results: .*TypeError"):
        Results.read({**written, "more": 1})


def test_who_took_part_is_told_once_in_the_order_of_the_file() -> None:
    found = made.results(*(made.cell(client, server, n) for n in (64, 1) for server in "zy" for client in "ba"))
    assert (found.clients(), found.servers(), found.sizes()) == (["b", "a"], ["z", "y"], [1, 64])
