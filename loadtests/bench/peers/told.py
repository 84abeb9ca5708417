"""This end of the pipes: a child process that is told what to do, a line of JSON at a time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

__all__ = ["ChildFailed", "Told", "told"]

_ROOT = Path(__file__).resolve().parents[3]
_ANSWER_SECONDS = 300.0
_END_SECONDS = 10.0


class ChildFailed(RuntimeError):
    """A child has ended, or has not answered, before it was told to end. `child` is the one."""

    def __init__(self, message: str, child: Told) -> None:
        super().__init__(message)
        self.child = child


class Told:
    """A child. `first` is what it said when it was ready, `seconds` how long that took from its start."""

    def __init__(self, process: asyncio.subprocess.Process, module: str) -> None:
        self._process = process
        self._module = module
        self.first: dict[str, Any] = {}
        self.seconds = 0.0

    @property
    def returncode(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.returncode

    async def ready(self) -> None:
        """Wait for its first line. Raises ChildFailed."""
        begun = time.perf_counter()
        self.first = await self._answer()
        self.seconds = time.perf_counter() - begun

    async def do(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Tell it to do something; returns its answer. Not concurrently. Raises ChildFailed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": name, **arguments}).encode() + b"\n")
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise ChildFailed(f"{self._module} has said nothing for {_ANSWER_SECONDS:.0f} s", self) from error
        if not line:
            raise ChildFailed(f"{self._module} has ended", self)
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        """End it: by the end of its input, and by force where that takes over 10 s. Cancelled, it does not wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def told(module: str, *arguments: str, python: str = sys.executable) -> AsyncIterator[Told]:
    """A child that runs a module of this folder with an interpreter, and is ready; it ends with the block.

    Raises ChildFailed with the last line that it printed.
    """
    command = (python, "-m", f"{__package__}.{module}", *arguments)
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
        child = Told(process, " ".join((module, *arguments)))
        try:
            await child.ready()
            yield child
        except ChildFailed as failed:
            if failed.child is not child:
                raise
            await child.end()  # its last words come after it has closed its other pipes
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise ChildFailed(f"{failed}: {lines[-1] if lines else 'it printed nothing'}", child) from failed
        finally:
            await child.end()
