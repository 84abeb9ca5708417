"""Fleets in processes of their own, and whether a process is still there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

__all__ = ["is_running", "running", "until", "until_gone"]

PATIENCE = 20.0


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """A fleet in a process of its own, with the lines it printed until it was ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fleetsim", "up", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        while not lines or "Ctrl-C" not in lines[-1]:
            line = await process.stdout.readline()
            assert line, (lines, await process.communicate())
            lines.append(line.decode().rstrip())
        yield process, lines
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def is_running(pid: int) -> bool:
    """Whether the process is there, and has not only to be waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def until(come_true: Callable[[], bool]) -> None:
    """Return when it has come true. Fails when that takes long."""
    deadline = time.monotonic() + PATIENCE
    while not come_true():
        assert time.monotonic() < deadline, "it has not come true"
        await asyncio.sleep(0.01)


async def until_gone(pids: Iterable[int]) -> None:
    """Return when none of the processes runs any more. Fails when that takes long, and ends those that do."""
    still = list(pids)
    try:
        await until(lambda: not any(map(is_running, still)))
    finally:
        for pid in filter(is_running, still):
            os.kill(pid, signal.SIGKILL)
