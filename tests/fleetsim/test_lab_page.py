from __future__ import annotations

from pathlib import Path

from fleetsim.lab.page import main, page
from fleetsim.lab.room import Account, Row

PAGE = Path(__file__).parents[2] / "docs" / "lab.md"


def test_the_page_in_the_docs_is_what_the_rooms_say_on_this_aiohttp(tmp_path: Path) -> None:
    main(str(tmp_path / "lab.md"))
    assert (tmp_path / "lab.md").read_text("utf-8") == PAGE.read_text("utf-8")


def test_a_room_is_a_section_with_a_table_of_its_steps() -> None:
    row = Row("asked", "1 acquired", "1 in flight", "Nobody answered.")
    text = page([Account("some", "Some claim.", True, (row,), "one", (), "the docs", 0.1)])
    assert "## some\n\nSome claim.\n" in text
    assert "| asked | 1 acquired | 1 in flight | Nobody answered. |\n\n    one\n\nRead on: the docs\n" in text
