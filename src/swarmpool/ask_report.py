"""How agents answered: latencies, connections and a line for each agent, as text and as JSON. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarmpool.endpoints import AgentEndpoint
    from swarmpool.responses import Response
    from swarmpool.statistics import PoolStatistics

__all__ = ["AgentLine", "AskReport", "Latencies", "as_json", "as_text", "ask_report", "latencies"]

_MOST_LINES = 50  # of agents, as text


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds: half of the requests took at most `p50`, and so on. None where there are no requests."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None


@dataclass(frozen=True, slots=True)
class AgentLine:
    """How one agent answered; `seconds` are those on the wire of its successes."""

    url: str
    requests: int
    failed: int
    seconds: Latencies


@dataclass(frozen=True, slots=True)
class AskReport:
    """How all agents answered. `wire` are the seconds of the successes, `queued` those before any request was sent."""

    requests: int
    succeeded: int
    failed: int
    seconds: float
    wire: Latencies
    queued: Latencies
    opened: int
    reused: int
    failures: dict[str, int]
    first_failure: str | None
    agents: tuple[AgentLine, ...]


def ask_report(
    endpoints: Sequence[AgentEndpoint], responses: Sequence[Response], statistics: PoolStatistics, seconds: float
) -> AskReport:
    """The report of responses that took `seconds` in all; agents are in their own order."""
    failures = [response for response in responses if not response.success]
    of_agent: list[list[Response]] = [[] for _ in endpoints]
    for response in responses:
        of_agent[response.tree_index].append(response)
    return AskReport(
        requests=len(responses),
        succeeded=len(responses) - len(failures),
        failed=len(failures),
        seconds=seconds,
        wire=_wire(responses),
        queued=latencies(response.queue_seconds for response in responses),
        opened=statistics.connections.opened,
        reused=statistics.connections.reused,
        failures=dict(Counter(str(response.kind) for response in failures).most_common()),
        first_failure=failures[0].error if failures else None,
        agents=tuple(_line(endpoint, own) for endpoint, own in zip(endpoints, of_agent, strict=True)),
    )


def latencies(seconds: Iterable[float]) -> Latencies:
    """Of each share, the least of the seconds that it did not exceed (the nearest rank)."""
    ordered = sorted(seconds)
    if not ordered:
        return Latencies(None, None, None, None, None)
    p50, p90, p95, p99 = (ordered[math.ceil(len(ordered) * percent / 100) - 1] for percent in (50, 90, 95, 99))
    return Latencies(p50, p90, p95, p99, ordered[-1])


def _wire(responses: Iterable[Response]) -> Latencies:
    return latencies(response.wire_seconds for response in responses if response.success)


def _line(endpoint: AgentEndpoint, responses: Sequence[Response]) -> AgentLine:
    failed = sum(not response.success for response in responses)
    return AgentLine(endpoint.url, len(responses), failed, _wire(responses))


def as_json(report: AskReport, answer: str | None) -> dict[str, Any]:
    """The report as a JSON object; `answer` is the text of the only request, if there was but one."""
    return asdict(report) | ({} if answer is None else {"answer": answer})


def as_text(report: AskReport, answer: str | None) -> str:
    """The report as lines for people."""
    lines = [] if not answer else [answer, ""]
    lines += [
        f"{report.succeeded} of {report.requests} requests answered in {report.seconds:.3f} s",
        f"connections: {report.opened} opened, {report.reused} reused",
        *_failures(report),
        "",
        f"{'seconds':<10}{'p50':>9}{'p90':>9}{'p95':>9}{'p99':>9}{'max':>9}",
        f"{'queued':<10}{_cells(report.queued)}",
        f"{'on wire':<10}{_cells(report.wire)}",
        "",
        *_table(report.agents),
    ]
    return "".join(f"{line}\n" for line in lines)


def _failures(report: AskReport) -> list[str]:
    if not report.failed:
        return []
    kinds = ", ".join(f"{number} {kind}" for kind, number in report.failures.items())
    return [f"failures: {kinds} (the first: {report.first_failure})"]


def _cells(latencies: Latencies) -> str:
    values = (latencies.p50, latencies.p90, latencies.p95, latencies.p99, latencies.max)
    return "".join(f"{'-' if value is None else f'{value:.3f}':>9}" for value in values)


def _table(agents: Sequence[AgentLine]) -> list[str]:
    shown = [agent for agent in agents if agent.requests][:_MOST_LINES]
    width = max([len("agent"), *(len(agent.url) for agent in shown)])
    lines = [f"{'agent':<{width}}{'requests':>10}{'failed':>8}{'p50':>9}{'p90':>9}{'p95':>9}{'p99':>9}{'max':>9}"]
    lines += [f"{agent.url:<{width}}{agent.requests:>10}{agent.failed:>8}{_cells(agent.seconds)}" for agent in shown]
    left = sum(1 for agent in agents if agent.requests) - len(shown)
    return lines + ([f"and {left} agents more; --json has them all"] if left else [])
