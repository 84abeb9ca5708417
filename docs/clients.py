"""Writes docs/clients.md: every client there is, put to the proof.

python docs/clients.py                  runs `fleetsim prove --client all`, some minutes
python docs/clients.py REPORT           takes what `fleetsim prove --client all --json REPORT` has written
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fleetsim.proofs.page import page


def proved(report: Path) -> Path:
    """Run the proofs; claims that fail are what the page is about."""
    command = [sys.executable, "-m", "fleetsim", "prove", "--client", "all", "--json", str(report)]
    subprocess.run(command, check=False)  # noqa: S603 - it is our own command
    return report


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(sys.argv[1]) if len(sys.argv) > 1 else proved(Path(scratch) / "report.json")
        written = page(json.loads(report.read_text(encoding="utf-8")))
    Path(__file__).with_suffix(".md").write_text(written, encoding="utf-8")
