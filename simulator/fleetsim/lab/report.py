"""The accounts for programs: `{"aiohttp", "python", "rooms": [{"name", "claim", "agrees", "rows": [...], ...}]}`."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

from fleetsim.lab.room import Account

__all__ = ["as_json", "summary"]


def as_json(accounts: Sequence[Account]) -> str:
    """The accounts as JSON text. A room has name, claim, agrees, rows, conclusion, problems, source and seconds; a row
    has done, connector, fleet and why."""
    report = {
        "aiohttp": version("aiohttp"),
        "python": platform.python_version(),
        "rooms": [asdict(account) for account in accounts],
    }
    return json.dumps(report, indent=2) + "\n"


def summary(accounts: Sequence[Account]) -> str:
    """One line: how many rooms came out as claimed, in how many seconds, on which aiohttp."""
    agree = sum(account.agrees for account in accounts)
    seconds = sum(account.seconds for account in accounts)
    return f"{agree} of {len(accounts)} rooms came out as claimed in {seconds:.1f} s (aiohttp {version('aiohttp')})"
