from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from loadtests.charts import Series, chart
from loadtests.timeline import Window


def drawn(*series: Series, windows: tuple[Window, ...] = (), title: str = "T") -> ET.Element:
    return ET.fromstring(chart(title, "ms", series, windows))


def texts(picture: ET.Element) -> list[str]:
    return ["".join(each.itertext()).strip() for each in picture.iter("text")]


def test_a_line_goes_from_left_to_right_and_higher_values_are_further_up() -> None:
    picture = drawn(Series("a", "one", [(0.0, 0.0), (5.0, 10.0), (10.0, 40.0)]))
    (line,) = picture.iter("polyline")
    places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)


def test_a_missing_value_breaks_the_line() -> None:
    picture = drawn(Series("a", "one", [(0.0, 1.0), (1.0, None), (2.0, 3.0), (3.0, 4.0)]))
    assert [len(line.attrib["points"].split()) for line in picture.iter("polyline")] == [1, 2]


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (0.97, ["0", "0.25", "0.5", "0.75", "1"]),
        (40.0, ["0", "10", "20", "30", "40"]),
        (1_730.0, ["0", "500", "1,000", "1,500", "2,000"]),
        (0.0, ["0", "0.25", "0.5", "0.75", "1"]),
    ],
)
def test_ticks_are_round_numbers_up_to_the_largest_value(most: float, ticks: list[str]) -> None:
    picture = drawn(Series("a", "one", [(1.0, most)]))
    assert texts(picture)[: len(ticks)] == ticks


def test_the_time_of_a_fault_is_shaded_and_named() -> None:
    windows = (Window(2.0, 4.0, "2 of 8 agents <dead>"), Window(9.0, 99.0, "later"))
    picture = drawn(Series("a", "one", [(0.0, 1.0), (10.0, 1.0)]), windows=windows)
    first, second = picture.iter("rect")
    assert first.findtext("title") == "2 of 8 agents <dead>, from 2.0 s to 4.0 s"
    assert float(first.attrib["width"]) == pytest.approx(0.2 * (760 - 64 - 16))
    assert float(second.attrib["x"]) + float(second.attrib["width"]) == pytest.approx(760 - 16)


def test_several_lines_are_named_and_one_needs_no_name() -> None:
    one, two = Series("p50", "one", [(1.0, 1.0)]), Series("p95", "two", [(1.0, 2.0)])
    assert "● p50\xa0 ● p95" in texts(drawn(one, two))
    assert "p50" not in "".join(texts(drawn(one)))


def test_nothing_to_draw_is_an_empty_picture() -> None:
    picture = drawn(title="a & b")
    assert "a & b ms" in texts(picture)
    assert list(picture.iter("polyline")) == []
