from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from loadtests.figures import Figures
from loadtests.options import Options
from loadtests.report import Report
from loadtests.thresholds import Finding
from loadtests.timeline import Timeline, Window
from swarmpool import FailureKind, Response


def made(findings: tuple[Finding, ...] = (Finding("p95", "1 s", "at most 2 s", True),), **given: str) -> Report:
    figures, timeline = Figures(), Timeline()
    for second in range(1, 6):
        figures.record("unary", 0.02, [Response(True, "", wire_seconds=0.02)] * 9)
        figures.record("unary", 0.3, [Response(False, "", kind=FailureKind.RESET)])
        figures.connections = figures.connections | {"opened": 2, "reused": 10 * second - 2, "open": 2}
        timeline.add(float(second), 4, Figures.read(figures.written()))
    timeline.windows.append(Window(1.0, 2.0, "1 of 4 agents dead"))
    return Report(Options.read(given), figures, findings, timeline, {"opened": 2, "requests": 50})


def test_the_file_for_programs_has_all_of_it(tmp_path: Path) -> None:
    data, _ = made().write(str(tmp_path / "new" / "run"))
    read = json.loads(data.read_text("utf-8"))
    assert (read["reuse_ratio"], read["requests_per_connection"], read["kept"]) == (0.96, 25.0, True)
    assert (read["responses"], read["failures"], read["runs"]) == (50, {"reset": 5}, {"unary": 10})
    assert read["durations"]["elapsed"]["count"] == 10
    assert 0.297 < read["durations"]["elapsed"]["p95"] < 0.303
    assert read["durations"]["gap"]["p50"] is None
    assert read["fleet"]["requests"] == 50
    assert len(read["timeline"]["points"]) == 5
    assert read["timeline"]["windows"][0]["label"] == "1 of 4 agents dead"


def test_the_page_begins_with_the_reuse_ratio_and_shades_the_faults(tmp_path: Path) -> None:
    _, path = made().write(str(tmp_path / "run"))
    page = path.read_text("utf-8")
    assert "<h1>96.00 %</h1>" in page
    assert page.index("<h1>") < page.index("Verdict") < page.index("<svg")
    assert page.count("<svg") == 5
    assert page.count('<rect class="window"') == 5
    assert "all limits kept" in page


def test_the_page_needs_no_other_file_and_no_script() -> None:
    page = made().page()
    assert re.findall(r"https?:|src=|href=|<script|@import|url\(", page) == []


def test_a_limit_that_was_not_kept_stands_out() -> None:
    page = made(
        (Finding("reuse ratio", "0.1", "at least 0.9", False), Finding("p95", "1 s", "at most 2 s", True))
    ).page()
    assert "1 of 2 limits not kept" in page
    assert "<tr class=missed><td>✗ reuse ratio" in page
    assert "<tr><td>✓ p95" in page


def test_what_comes_from_outside_is_text_and_not_markup() -> None:
    report = made(fleet_profile="<script>alert(1)</script>")
    report = replace(report, findings=(Finding("<b>", "<i>", "&", False),))
    tags: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            tags.add(tag)

    Reader().feed(report.page())
    assert tags & {"script", "i"} == set()
    assert "&lt;script&gt;" in report.page()


def test_a_run_in_which_nothing_happened_has_a_page_too() -> None:
    page = Report(Options.read({}), Figures(), (), Timeline(), None).page()
    assert "<h1>none</h1>" in page


def test_retries_and_breakers_have_a_table_and_charts_where_there_were_any() -> None:
    quiet, report = made(), made(retry="3", health="5")
    report.figures.care |= {"retried": 1_234, "ejected": 2, "probing": 2, "returned": 1, "ejected_now": 1}
    assert "Retries and breakers" not in quiet.page()
    page = report.page()
    assert page.count("<svg") == quiet.page().count("<svg") + 2
    assert "<tr><td>tries that failed and were repeated<td>1,234" in page
    assert "<tr><td>agents left alone at the end<td>1" in page
    assert report.written()["care"] == report.figures.care
    assert (report.written()["options"]["retry"], report.written()["options"]["health"]) == (3, 5)
