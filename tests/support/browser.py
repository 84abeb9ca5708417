"""A headless Chromium, where there is one, driven by its DevTools protocol: click, read, take a picture."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

__all__ = ["Tab", "browsing", "needs_chromium"]

PATIENCE = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
# No sandbox, for root has none; and nothing that would ask the network.
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
    "--remote-debugging-port=0",
)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no browser is installed: expected one of {', '.join(NAMES)} on the PATH"
)


class Tab:
    """One page. For one task at a time."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket
        self._numbers = count(1)

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._websocket.send_json({"id": number, "method": method, "params": parameters})
        while (message := await self._websocket.receive_json()).get("id") != number:
            """What is told in between is news of the page."""
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to `url`, and return while it still loads."""
        await self._call("Page.navigate", url=url)

    async def evaluate(self, code: str) -> Any:
        """What the JavaScript expression is; None for undefined."""
        return (await self._call("Runtime.evaluate", expression=code, returnByValue=True))["result"].get("value")

    async def text(self) -> str:
        """What a person reads on the page."""
        return str(await self.evaluate("document.body ? document.body.innerText : ''"))

    async def shows(self, *texts: str) -> None:
        """Return when all `texts` are to be read."""

        async def all_there() -> bool:
            read = (await self.text()).lower()
            return all(text.lower() in read for text in texts)

        await _until(all_there)

    async def click(self, role: str, text: str) -> None:
        """Click the element of that role with exactly that text, once it is there."""
        elements = f"[...document.querySelectorAll('[role={role}]')]"
        found = f"{elements}.find(e => e.innerText.toLowerCase() == {text.lower()!r})"

        async def clicked() -> bool:
            return bool(await self.evaluate(f"(e => e ? (e.click(), true) : false)({found})"))

        await _until(clicked)

    async def picture(self) -> bytes:
        """What a person sees, as a PNG."""
        return base64.b64decode((await self._call("Page.captureScreenshot"))["data"])


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.1)  # another process, which tells nobody


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Tab]:
    """A tab of a browser whose profile is the new folder `profile`; the browser ends with the context."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:

        async def listens() -> bool:
            return _port(profile) is not None

        await _until(listens)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{_port(profile)}/json/list") as answer:
                pages = [each for each in await answer.json() if each["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as websocket:
                yield Tab(websocket)
    finally:
        process.kill()
        await process.wait()


def _port(profile: Path) -> int | None:
    """Where the browser of that profile listens; None while it does not."""
    file = profile / "DevToolsActivePort"
    words = file.read_text().split() if file.exists() else []
    return int(words[0]) if words else None
