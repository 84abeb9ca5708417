"""locust's page, asked as a browser would, and what a signal does to a run that was started there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urlsplit

import pytest
from browser import browsing, needs_chromium
from locust_runs import OURS, ROOT, needs_locust

pytestmark = [pytest.mark.slow, needs_locust]

PATIENCE = 60.0


class Page:
    """A locust with a page, on an address of this process's own."""

    def __init__(self, said: Path) -> None:
        pid = os.getpid()
        host = f"127.{1 + (pid >> 16) % 250}.{pid >> 8 & 255}.{pid & 255}"
        self.url = f"http://{host}:8089"
        command = [sys.executable, "-m", "locust", "-f", str(OURS), "--web-host", host]
        self._said = said
        with said.open("w") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)

    def get(self, path: str, form: dict[str, str] | None = None) -> str:
        data = None if form is None else urlencode(form).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def swarm(self, **form: str) -> None:
        few = {"user_count": "4", "spawn_rate": "4", "host": "", "fleet_size": "3", "min_reuse": "0"}
        self.get("/swarm", few | form)

    def rows(self, key: str) -> list[dict[str, Any]]:
        stats = json.loads(self.get("/stats/requests"))["extended_stats"]
        return [row for table in stats if table["key"] == key for row in table["data"]]

    def said(self) -> str:
        return self._said.read_text()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _true(holds):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)  # another process, which tells nobody


def _true(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except URLError:
        return False


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path / "said")
    try:
        until(lambda: "LOCUST" in page.get("/").upper())
        yield page
    finally:
        page.process.kill()
        page.process.wait()


def refuses(url: str) -> bool:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    with socket.socket() as client:
        return client.connect_ex((parts.hostname, parts.port)) != 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_tabs_show_fleet_and_pool_and_a_signal_ends_in_a_verdict(page: Page, number: signal.Signals) -> None:
    assert all(title in page.get("/") for title in ("Fleet", "Pool", "fleet_size", "fleet_profile"))
    assert page.rows("fleet") == []
    page.swarm()
    until(lambda: sum(row["requests"] for row in page.rows("fleet")) > 10)
    servers = page.rows("fleet")
    assert [row["state"] for row in servers] == ["serving"] * 3
    until(lambda: page.rows("pool")[0]["value"] != "none yet")
    page.process.send_signal(number)
    assert page.process.wait(PATIENCE) == 0, page.said()
    assert "ok    opened: client and fleet" in page.said()
    assert "FAIL" not in page.said()
    assert all(refuses(row["url"]) for row in servers)


@needs_chromium
async def test_a_person_reads_fleet_and_pool_in_a_browser(page: Page, tmp_path: Path) -> None:
    page.swarm(health="3", retry="2")
    until(lambda: sum(row["requests"] for row in page.rows("fleet")) > 10)
    urls = [row["url"] for row in page.rows("fleet")]
    async with browsing(tmp_path / "profile") as tab:
        await tab.open(page.url)
        await tab.click("tab", "Fleet")
        await tab.shows(*urls, "serving", "Open connections", "In flight")
        (tmp_path / "fleet.png").write_bytes(await tab.picture())
        await tab.click("tab", "Pool")
        await tab.shows("reuse ratio", "requests retried", "agents ejected", "to first token")
        (tmp_path / "pool.png").write_bytes(await tab.picture())
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("fleet.png", "pool.png"))


def test_a_bad_field_is_said_and_the_next_run_is_a_good_one(page: Page) -> None:
    page.swarm(fleet_size="few")
    until(lambda: "--fleet-size: expected a whole number of at least 1, got 'few'" in page.said())
    until(lambda: json.loads(page.get("/stats/requests"))["state"] == "stopped")
    page.swarm(run_time="4s")
    until(lambda: len(page.rows("fleet")) == 3)
    until(lambda: "ok    opened: client and fleet" in page.said())
    assert "Traceback" not in page.said()
    page.process.terminate()
    assert page.process.wait(PATIENCE) == 0, page.said()
