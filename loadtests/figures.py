"""What a load has measured: durations, results and connections; of one process, or of many added up.

Each process fills its own `Figures`. It sends all of them each time, not what is new: who adds up keeps the last of
each process, so that a report lost or repeated does no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from loadtests.histogram import Histogram
from swarmpool import Attempt, ConnectionEvent, FailureKind, PoolEvent, PoolEventKind, PoolStatistics, Response

__all__ = ["CARE", "CONNECTIONS", "DURATIONS", "Figures"]

DURATIONS = ("elapsed", "queue", "wire", "first_token", "gap")
CONNECTIONS = ("opened", "reused", "closed", "failed", "expired", "evicted", "lost_idle", "open", "peak_open")
CARE = ("retried", "ejected", "probing", "returned", "ejected_now", "hedged", "hedge_won")
_CUT = (FailureKind.RESET, FailureKind.DISCONNECTED)


class Figures:
    """Durations by name (`elapsed` is that of a whole run of a scenario), and counts.

    `runs` counts finished runs by scenario, `failures` failed responses by kind, `connections` what the pool says of
    its sockets, `care` what it says of retries, breakers and hedges, `given_up` cancelled exchanges and dials that
    nobody refused, `cut` requests that were cut before their answers began, and tries that were.

    `websockets` counts those `opened`, dials that `failed`, those that were `refused` among them, messages `answered`,
    and messages `cut`: whether they arrived, and their answers left, is not known.
    """

    def __init__(self) -> None:
        self.durations = {name: Histogram() for name in DURATIONS}
        self.runs: Counter[str] = Counter()
        self.responses = 0
        self.failures: Counter[str] = Counter()
        self.given_up = 0
        self.cut = 0
        self.connections = dict.fromkeys(CONNECTIONS, 0)
        self.care = dict.fromkeys(CARE, 0)
        self._refused_and_retried = 0
        self.websockets: Counter[str] = Counter()

    def gap(self, seconds: float) -> None:
        """Record the time between two pieces of a stream."""
        self.durations["gap"].record(seconds)

    def record(self, scenario: str, seconds: float, responses: Iterable[Response]) -> None:
        """Record one run of `scenario` that took `seconds`, and its responses."""
        self.runs[scenario] += 1
        self.durations["elapsed"].record(seconds)
        for response in responses:
            self._response(response)

    def _response(self, response: Response) -> None:
        self.responses += 1
        if response.kind is not None:
            self.failures[response.kind] += 1
        own = response.attempts - sum(attempt.attempts for attempt in response.earlier)
        self.cut += _cut(response.kind, own) + sum(map(_cut_try, response.earlier))
        self.durations["queue"].record(response.queue_seconds)
        self.durations["wire"].record(response.wire_seconds)
        if response.first_token_seconds is not None:
            self.durations["first_token"].record(response.first_token_seconds)

    def websocket(self, event: ConnectionEvent) -> None:
        """Take over what a pool of websockets tells: its `on_event`."""
        if event.kind == "opened":
            self.websockets["opened"] += 1
        elif event.kind == "failed":
            self.websockets["failed"] += 1
            self.websockets["refused"] += event.error == "ClientConnectorError"

    def event(self, event: PoolEvent) -> None:
        """Take over what a pool of agents tells: its `on_event`."""
        if event.kind is PoolEventKind.RETRIED and event.failure is FailureKind.CONNECT:
            self._refused_and_retried += 1

    def message(self, *, answered: bool) -> None:
        """Record a message on a websocket that was `answered`, or cut."""
        self.websockets["answered" if answered else "cut"] += 1

    def look(self, statistics: PoolStatistics) -> None:
        """Take over what the pool says of its connections and its requests, and what it did for them."""
        self.care = {name: getattr(statistics.care, name) for name in CARE}
        self.connections = {name: getattr(statistics.connections, name) for name in CONNECTIONS}
        requests = statistics.requests
        refused = requests.failures.get(FailureKind.CONNECT, 0) + self.websockets["refused"]
        refused += self._refused_and_retried
        dials = max(0, statistics.connections.failed - refused)
        self.given_up = dials + requests.cancelled + requests.abandoned_streams

    @property
    def unsure(self) -> int:
        """How many connections and exchanges, at most, the other end may have counted otherwise than this one.

        A dial that was given up may have been accepted; a cancelled request may not have arrived; and one that was cut
        may have been in the kernel's queue when the server went, never to be read, its connection never to be accepted.
        A dial that was refused is certain, but for a websocket's: it may have tried an idle connection before.
        """
        return self.given_up + self.cut + self.websockets["failed"]

    @property
    def failed(self) -> int:
        """Responses that were failures, of whatever kind."""
        return self.failures.total()

    @property
    def failure_share(self) -> float:
        """Failed responses of all; 0 where there are none."""
        return self.failed / self.responses if self.responses else 0.0

    @property
    def reuse_ratio(self) -> float | None:
        """Exchanges on a connection that had served before, of all exchanges; None before the first."""
        exchanges = self.connections["opened"] + self.connections["reused"]
        return self.connections["reused"] / exchanges if exchanges else None

    @property
    def requests_per_connection(self) -> float | None:
        """Exchanges for each connection opened; None before the first."""
        opened = self.connections["opened"]
        return (opened + self.connections["reused"]) / opened if opened else None

    def add(self, other: Figures) -> None:
        """Add what another process has measured. `peak_open` becomes a sum of peaks: an upper bound of the true one."""
        for name, histogram in other.durations.items():
            self.durations[name].add(histogram)
        self.runs.update(other.runs)
        self.responses += other.responses
        self.failures.update(other.failures)
        self.given_up += other.given_up
        self.cut += other.cut
        self.websockets.update(other.websockets)
        for name in CONNECTIONS:
            self.connections[name] += other.connections[name]
        for name in CARE:
            self.care[name] += other.care[name]

    def written(self) -> dict[str, Any]:
        """Return them as JSON and msgpack can carry them."""
        return {
            "durations": {name: histogram.written() for name, histogram in self.durations.items()},
            "runs": dict(self.runs),
            "responses": self.responses,
            "failures": {str(kind): number for kind, number in self.failures.items()},
            "given_up": self.given_up,
            "cut": self.cut,
            "connections": self.connections,
            "care": self.care,
            "websockets": dict(self.websockets),
        }

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Figures:
        """Return what `written` was made of."""
        made = cls()
        made.durations = {name: Histogram.read(each) for name, each in written["durations"].items()}
        made.runs.update(written["runs"])
        made.responses = written["responses"]
        made.given_up, made.cut = written["given_up"], written["cut"]
        made.failures.update(written["failures"])
        made.connections = dict(written["connections"])
        made.care = dict(written["care"])
        made.websockets.update(written["websockets"])
        return made

    @classmethod
    def total(cls, parts: Iterable[Mapping[str, Any]]) -> Figures:
        """Return the sum of what several processes have sent."""
        made = cls()
        for part in parts:
            made.add(cls.read(part))
        return made


def _cut(kind: FailureKind | None, attempts: int) -> int:
    return attempts if kind in _CUT else max(0, attempts - 1)


def _cut_try(attempt: Attempt) -> int:
    """A try that lost against another one was cancelled wherever it was."""
    return attempt.attempts if attempt.kind is None else _cut(attempt.kind, attempt.attempts)
