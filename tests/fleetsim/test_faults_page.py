from __future__ import annotations

import dataclasses
from pathlib import Path

from fleetsim import fault_names
from fleetsim.faults.catalogue import describe
from fleetsim.faults.page import in_full, listing, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def test_the_page_of_the_documentation_is_what_the_catalogue_says() -> None:
    """If it is not: python docs/faults.py."""
    assert PAGE.read_text(encoding="utf-8") == page(describe())


def test_the_page_has_a_heading_for_each_fault() -> None:
    headings = [line.removeprefix("### ") for line in page(describe()).splitlines() if line.startswith("### ")]
    assert headings == list(fault_names())


def test_the_listing_has_a_line_for_each_fault_with_its_parameters() -> None:
    lines = listing(describe()).splitlines()
    assert [line.split()[0].partition(";")[0] for line in lines if line.startswith("  ")] == list(fault_names())
    assert any(line.startswith("  stall;seconds=1s;after=0 ") for line in lines)


def test_one_fault_in_full_tells_its_parameters_and_what_is_seen_of_it() -> None:
    (stall,) = [each for each in describe() if each.name == "stall"]
    told = in_full(stall)
    for part in ("stall (body)", "seconds: duration, how long, by default 1s", stall.wire, stall.aiohttp, stall.httpx):
        assert part in told


def test_what_a_right_client_tells_stands_beside_what_clients_see() -> None:
    never, stale = (next(each for each in describe() if each.name == name) for name in ("never", "stale"))
    assert (
        "a right client tells: a failure when the client's own limit has passed (timeout); of a stream, the"
        in in_full(never)
    )
    assert "the whole answer; the next request on its connection may fail." in in_full(stale)
    assert in_full(dataclasses.replace(stale, told=())).endswith(stale.httpx)
