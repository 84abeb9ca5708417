"""Draws what a command prints in a terminal, as it stands when the command has ended.

    python docs/picture.py docs/prove.svg fleetsim prove

The command runs in a pseudo-terminal. A live display is drawn over and over; only its last state is kept.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 120
ERASE_LINE = "\x1b[2K"


def main(picture: Path, command: list[str]) -> int:
    """Run the command and write the picture; returns the command's exit status."""
    output, status = run_in_terminal(command)
    shown = output.replace("\r\n", "\n").rpartition(ERASE_LINE)[2]
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until exit
    console.print(Text.assemble("$ ", " ".join(command), style="bold"))
    console.print(Text.from_ansi(shown.strip("\n")))
    picture.write_text(console.export_svg(title=" ".join(command)), encoding="utf-8")
    return status


def run_in_terminal(command: list[str]) -> tuple[str, int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen(  # noqa: S603 - the command is the caller's own
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    with process:
        os.close(theirs)
        return read_all(ours).decode(), process.wait()


def read_all(terminal: int) -> bytes:
    chunks = []
    try:
        while chunk := os.read(terminal, 65536):
            chunks.append(chunk)
    except OSError:
        pass  # Linux says so when the last writer has closed its side
    os.close(terminal)
    return b"".join(chunks)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
