"""`python -m loadtests.bench peers` and `python -m loadtests.bench page`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests.bench.peers.installed import field_of
from loadtests.bench.peers.page import page, said
from loadtests.bench.peers.picture import picture
from loadtests.bench.peers.plan import FULL, QUICK
from loadtests.bench.peers.results import Results
from loadtests.bench.peers.run import run_peers
from loadtests.bench.peers.told import ChildFailed

__all__ = ["page_command", "peers_command", "write_page"]

_INTERRUPTED = 130  # as a shell says of a process that SIGINT ended


def peers_command(arguments: Sequence[str]) -> int:
    """Run clients and servers beside their peers and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench peers", description=peers_command.__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, and no 1,024 agents")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there, the page and picture beside"
    )
    parser.add_argument("--guidellm", metavar="PYTHON", help="an interpreter of an environment that has guidellm")
    asked = parser.parse_args(arguments)
    try:
        field = field_of(guidellm=asked.guidellm)
        for sentence in field.left_out:
            print(sentence)
        results = asyncio.run(run_peers(QUICK if asked.quick else FULL, field, lambda line: print(line, flush=True)))
    except (ChildFailed, OSError) as failed:
        sys.exit(f"python -m loadtests.bench peers: {failed}")
    except KeyboardInterrupt:
        return _INTERRUPTED
    print(said(results))
    if asked.json:
        asked.json.write_text(json.dumps(results.written(), indent=1, ensure_ascii=False) + "\n", "utf-8")
        write_page(asked.json)
    return 0


def page_command(arguments: Sequence[str]) -> int:
    """Write the page and the picture that FILE gives beside it, FILE being what `peers --json FILE` has written."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench page", description=page_command.__doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    try:
        write_page(parser.parse_args(arguments).file)
    except (OSError, ValueError) as failed:
        sys.exit(f"python -m loadtests.bench page: {failed}")
    return 0


def write_page(file: Path) -> None:
    """Write FILE.md and FILE.svg in place of FILE.json. Raises OSError and ValueError."""
    results = Results.read(json.loads(file.read_text(encoding="utf-8")))
    file.with_suffix(".svg").write_text(picture(results), "utf-8")
    file.with_suffix(".md").write_text(page(results, picture=file.with_suffix(".svg").name), "utf-8")
