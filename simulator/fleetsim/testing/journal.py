"""A fleet's journal for a failed test: in words for the report, in JSON lines for a file."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fleetsim.fleet import Fleet
from fleetsim.ledger import LedgerSnapshot
from fleetsim.records import ConnectionRecord, RequestRecord, WebSocketRecord
from fleetsim.testing.evidence import (
    Carried,
    connection_in_words,
    counted,
    request_in_words,
    serving_by_connection,
    websocket_in_words,
)

__all__ = ["Account", "account_of", "journal_in_words", "trace_path", "write_trace"]

_LAST = 40

Record = ConnectionRecord | RequestRecord | WebSocketRecord
_KINDS = {ConnectionRecord: "connection", RequestRecord: "request", WebSocketRecord: "websocket"}


@dataclass(frozen=True, slots=True)
class Account:
    """A fleet's ledger as it stood at one moment, for when the fleet has been renewed or closed."""

    size: int
    seed: int
    said: str
    figures: LedgerSnapshot
    records: tuple[Record, ...]


def account_of(fleet: Fleet) -> Account:
    """Return what the fleet's ledger says now."""
    ledger = fleet.ledger
    return Account(len(fleet), fleet.seed, repr(ledger), ledger.snapshot(), ledger.journal())


def journal_in_words(account: Account) -> str:
    """Return the fleet's size, seed and figures, and the journal's last lines, timed from its first in seconds."""
    records = account.records
    serving = serving_by_connection(each for each in records if not isinstance(each, ConnectionRecord))
    shown = records[-_LAST:]
    start = began(records[0]) if records else 0.0
    lines = [f"{counted(account.size, 'server')}, seed {account.seed}: {account.said}"]
    earlier = len(records) - len(shown) + account.figures.dropped
    if earlier:
        lines.append(f"({counted(earlier, 'earlier line')} not shown)")
    lines += [f"{began(each) - start:9.4f}  {in_words(each, serving)}" for each in shown]
    return "\n".join(lines)


def in_words(record: Record, serving: Mapping[int, Carried]) -> str:
    if isinstance(record, ConnectionRecord):
        return connection_in_words(record, serving.get(record.connection))
    if isinstance(record, WebSocketRecord):
        return websocket_in_words(record)
    return request_in_words(record)


def began(record: Record) -> float:
    return record.arrived_at if isinstance(record, RequestRecord) else record.opened_at


def trace_path(folder: Path, test: str) -> Path:
    """Return the file in `folder` for the test with this node id; no two ids share one."""
    readable = re.sub(r"[^A-Za-z0-9_.]+", "-", test).strip("-.")[-80:]
    return folder / f"{readable}-{zlib.crc32(test.encode()):08x}.jsonl"


def write_trace(path: Path, test: str, accounts: Sequence[Account]) -> None:
    """Write, per fleet, a line of kind `fleet` and behind it one per connection and request. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for number, account in enumerate(accounts):
            file.writelines(json.dumps(line, default=str) + "\n" for line in trace_lines(number, test, account))


def trace_lines(number: int, test: str, account: Account) -> list[dict[str, object]]:
    first = {"kind": "fleet", "fleet": number, "test": test, "size": account.size, "seed": account.seed}
    records = [{"kind": _KINDS[type(each)], "fleet": number} | asdict(each) for each in account.records]
    return [first | asdict(account.figures), *records]
