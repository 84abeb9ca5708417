"""The command line: `python -m swarmpool COMMAND`.

Exit codes: 0 all is well, 1 some requests failed or agents are missing, 2 the command could not be carried out as it
was given (one sentence on stderr says why), 130 it was interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from swarmpool._version import __version__
from swarmpool.ask_command import add_ask
from swarmpool.errors import SwarmPoolError
from swarmpool.wait_command import add_wait

__all__ = ["main"]

_INTERRUPTED = 130  # as a shell says of a process that SIGINT ended


def main(arguments: Sequence[str]) -> int:
    """Carry out a command and return its exit code. Raises SystemExit for arguments that cannot be, and for help."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        run: Callable[[], int] = options.prepare(options)
    except (SwarmPoolError, ValueError) as error:
        return _complain(f"{parser.prog} {options.command}: {error}", 2)
    try:
        code = run()
        sys.stdout.flush()
    except SwarmPoolError as error:
        return _complain(f"{parser.prog} {options.command}: {error}", 2)
    except KeyboardInterrupt:
        return _complain(f"{parser.prog} {options.command}: interrupted", _INTERRUPTED)
    except BrokenPipeError:  # whoever read the output has gone; Python would complain when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _complain(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m swarmpool", description="Drive many vLLM servers over one aiohttp session.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"swarmpool {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    add_ask(commands.add_parser)
    add_wait(commands.add_parser)
    return parser
