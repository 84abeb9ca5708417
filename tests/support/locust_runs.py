"""locust in a process of its own, where it is installed: it must not be imported here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

__all__ = ["OURS", "PATIENCE", "ROOT", "locust", "needs_locust", "python", "started"]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90.0

needs_locust = pytest.mark.skipif(find_spec("locust") is None, reason="locust is in the extra `loadtest`")


OURS = ROOT / "loadtests" / "locustfile.py"


def locust(
    *arguments: str, locustfile: Path = OURS, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `locust --headless` in `cwd`, with more in its `environment`, and return what came of it."""
    command = ["-m", "locust", "-f", str(locustfile), "--headless", "--only-summary", *arguments]
    return _run([sys.executable, *command], cwd, **environment)


@contextmanager
def started(*arguments: str, locustfile: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the same while the context lasts, which kills it."""
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary", *arguments]
    whole, pipe = {**os.environ, "PYTHONPATH": str(ROOT), **environment}, subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=whole) as process:
        try:
            yield process
        finally:
            process.kill()


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code with the root of the project on the path."""
    return _run([sys.executable, "-c", code], ROOT)


def _run(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    whole = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False, env=whole)
