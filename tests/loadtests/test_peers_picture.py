from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from peer_results import around, cell, results

from loadtests.bench.peers.picture import picture

SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> ET.Element:
    cells = (
        cell(client, server, agents, client_cpu=around(cpu * agents, by=0.1), server_cpu=60.0)
        for agents in (1, 64)
        for server in ("fleetsim", "a<b")
        for client, cpu in (("swarmpool", 100.0), ("aiohttp", 50.0))
    )
    return ET.fromstring(picture(results(*cells)))


def texts(picture: ET.Element) -> list[str]:
    return ["".join(each.itertext()) for each in picture.iter(f"{SVG}text")]


def test_the_picture_is_well_formed_and_names_who_and_how_many() -> None:
    assert {"swarmpool", "aiohttp", "fleetsim", "a<b", "1 agent", "64 agents"} <= {*texts(drawn())}


def test_a_bar_is_as_long_as_its_figure() -> None:
    bars = [each for each in drawn().iter(f"{SVG}rect") if each.get("class")]
    widths = [float(each.attrib["width"]) for each in bars[:4]]  # clients with 1 agent, then with 64
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert widths[2] == pytest.approx(64 * widths[0], rel=0.02)


def test_nothing_is_drawn_outside_the_picture() -> None:
    found = drawn()
    width, height = float(found.attrib["width"]), float(found.attrib["height"])
    for bar in found.iter(f"{SVG}rect"):
        assert float(bar.get("x", 0)) + float(bar.attrib["width"]) <= width
        assert float(bar.get("y", 0)) + float(bar.attrib["height"]) <= height
    assert all(float(mark.attrib["x2"]) <= width for mark in found.iter(f"{SVG}line"))
    assert all(float(text.attrib["y"]) <= height for text in found.iter(f"{SVG}text"))


def test_ours_have_a_colour_of_their_own() -> None:
    ours = [each.findtext(f"{SVG}title", "") for each in drawn().iter(f"{SVG}rect") if each.get("class") == "ours"]
    assert [each.partition(":")[0] for each in ours] == ["swarmpool", "swarmpool", "fleetsim", "fleetsim"]
