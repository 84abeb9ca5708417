"""Writes docs/faults.md from the catalogue of faults.

python docs/faults.py
"""

from __future__ import annotations

from pathlib import Path

from fleetsim.faults.catalogue import describe
from fleetsim.faults.page import page

if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(page(describe()), encoding="utf-8")
