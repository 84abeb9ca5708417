"""Assertions on a fleet's ledger. Each failure names the servers and connections that made it fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from fleetsim.errors import LedgerTimeoutError
from fleetsim.ledger import Ledger
from fleetsim.records import ConnectionRecord
from fleetsim.testing.evidence import connections_in_words, counted, limited
from fleetsim.units import format_duration, parse_duration

__all__ = ["Assertions"]


class Counted(Protocol):
    """A server, as far as the assertions look at it."""

    @property
    def index(self) -> int: ...

    @property
    def ledger(self) -> Ledger: ...


class CountedFleet(Protocol):
    """What the assertions are asked of."""

    @property
    def ledger(self) -> Ledger: ...

    def __iter__(self) -> Iterator[Counted]: ...


class Assertions:
    """What a test asserts of a fleet, mixed into `Fleet`. All raise AssertionError, and ValueError for a bad limit."""

    def assert_reused(self: CountedFleet, *, min_ratio: float = 0.9) -> None:
        """Assert that at least `min_ratio` (0 to 1) of all requests came on a connection that had carried one before.

        A request for a websocket is one of them. A failure lists the connections that carried least.
        """
        __tracebackhide__ = True
        if not 0 <= min_ratio <= 1:
            raise ValueError(f"min_ratio: expected 0 to 1, got {min_ratio!r}")
        self.ledger.catch_up()
        figures = self.ledger.snapshot()
        ratio = figures.reused / figures.requests if figures.requests else 0.0
        if figures.requests and ratio >= min_ratio:
            return
        said = (
            f"{figures.reused} of {counted(figures.requests, 'request')} came on a used connection, a ratio of "
            f"{ratio:.3g}; expected at least {min_ratio:g}. {counted(figures.opened, 'connection')} opened; "
            "least used were"
        )
        least = sorted(self.ledger.connection_records(), key=lambda record: record.requests)
        raise AssertionError(told(said, connections(self.ledger, least), figures.dropped))

    def assert_opened(self: CountedFleet, *, at_most: int | None = None, at_least: int | None = None) -> None:
        """Assert how many connections were opened, over all servers. A failure lists them, and how many per server."""
        __tracebackhide__ = True
        if at_most is None and at_least is None:
            raise ValueError("assert_opened: expected at_most, at_least or both")
        self.ledger.catch_up()
        figures = self.ledger.snapshot()
        if (at_least or 0) <= figures.opened and (at_most is None or figures.opened <= at_most):
            return
        limits = [
            f"{name} {value}" for name, value in (("at least", at_least), ("at most", at_most)) if value is not None
        ]
        each = ", ".join(f"{server.ledger.opened} on server {server.index}" for server in most_first(self))
        said = f"{counted(figures.opened, 'connection')} opened, expected {' and '.join(limits)}: {each}"
        raise AssertionError(told(said, connections(self.ledger, self.ledger.connection_records()), figures.dropped))

    def assert_all_closed(self: CountedFleet, *, within: float | str = "100ms") -> None:
        """Assert that no connection is open any more, or will be `within` a duration (seconds, or text with a unit).

        It blocks the calling thread meanwhile. Where clients close in a loop of that thread, `await
        fleet.ledger.wait_for(open_now=0)` first. Raises RuntimeError where it would block the fleet's own loop.
        A failure lists the open connections.
        """
        __tracebackhide__ = True
        seconds = parse_duration(within)
        self.ledger.catch_up()
        try:
            self.ledger.wait_for_sync(timeout=seconds, open_now=0)
        except LedgerTimeoutError:
            still = [record for record in self.ledger.connection_records() if record.ended_at is None]
            figures = self.ledger.snapshot()
            said = f"after {format_duration(seconds)} {figures.open_now} of {figures.opened} connections are open"
            raise AssertionError(told(said, connections(self.ledger, still), figures.dropped)) from None

    def assert_balanced(self: CountedFleet, *, within: float = 0.5) -> None:
        """Assert that each server got as many requests as the mean over all, give or take the fraction `within`.

        A failure lists the servers that did not.
        """
        __tracebackhide__ = True
        if not within >= 0:
            raise ValueError(f"within: expected a fraction of at least 0, such as 0.5, got {within!r}")
        self.ledger.catch_up()
        counts = {server.index: server.ledger.requests for server in self}
        mean = sum(counts.values()) / len(counts)
        low, high = mean * (1 - within), mean * (1 + within)
        astray = [
            f"server {index}: {share(count, mean)}" for index, count in counts.items() if not low <= count <= high
        ]
        if not astray and mean:
            return
        said = (
            f"{counted(sum(counts.values()), 'request')} to {counted(len(counts), 'server')}, {mean:.4g} each on "
            f"average; expected {low:.4g} to {high:.4g} for every server, and {len(astray)} got another number"
        )
        raise AssertionError(told(said, astray, 0))


def share(count: int, mean: float) -> str:
    return f"{counted(count, 'request')}, {count / mean:.2f} of the mean"


def most_first(fleet: Iterable[Counted]) -> list[Counted]:
    """Return the eight servers with the most connections."""
    return sorted(fleet, key=lambda server: -server.ledger.opened)[:8]


def connections(ledger: Ledger, records: Iterable[ConnectionRecord]) -> list[str]:
    return connections_in_words(records, (*ledger.request_records(), *ledger.websocket_records()))


def told(said: str, evidence: Sequence[str], dropped: int) -> str:
    """Return the sentence with its evidence below it."""
    lost = [f"({counted(dropped, 'older line')} dropped from the journal)"] if dropped else []
    return "\n  ".join([said, *limited(evidence), *lost])
