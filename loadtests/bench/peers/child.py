"""The child's end of the pipes: a line of JSON comes, a line of JSON goes, and the end of the input ends the child.

Needs nothing but the standard library, and uvloop if it is there: it also runs in environments without anything of
ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from importlib import import_module
from typing import Any, TextIO

__all__ = ["Answers", "answer_lines", "memory", "run_child"]

Answers = Mapping[str, Callable[..., Awaitable[dict[str, Any]]]]


def memory() -> int:
    """Bytes of this process that are in memory now (Linux: resident, from /proc/self/statm)."""
    with open("/proc/self/statm", encoding="ascii") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_child(main: Callable[[TextIO], Coroutine[Any, Any, None]], *, fast: bool) -> None:
    """Run `main(out)`, on uvloop if `fast` and it is installed. What else the process prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _raise_open_files()
    with out, asyncio.Runner(loop_factory=_fast_loop() if fast else asyncio.new_event_loop) as runner:
        runner.run(main(out))


def _raise_open_files() -> None:
    # 1,024 listeners and their connections are more than most shells allow a process at first.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        make: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    except ImportError:
        make = asyncio.new_event_loop
    return make


async def answer_lines(out: TextIO, first: Mapping[str, Any], answers: Answers) -> None:
    """Say `first`, then answer each `{"do": name, ...}` by `answers[name](...)`, one by one, until the input ends."""
    reader = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        _say(out, first)
        while line := await reader.readline():
            asked = json.loads(line)
            _say(out, await answers[asked.pop("do")](**asked))
    finally:
        pipe.close()


def _say(out: TextIO, answer: Mapping[str, Any]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()
