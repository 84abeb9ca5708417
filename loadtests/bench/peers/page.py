"""The page of the documentation: what came out of a run, first of all where we lose."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from loadtests.bench.peers.losses import OURS, START, Comparison, comparisons
from loadtests.bench.peers.results import FIGURES, Cell, Figure, Results
from loadtests.bench.peers.spread import Spread

__all__ = ["page", "said"]

_INTRODUCTION = """\
# Benchmarks against peers

Written by `python -m loadtests.bench peers --json docs/benchmarks.json`, which takes {seconds} seconds;
`python -m loadtests.bench page docs/benchmarks.json` writes it again from the figures.

Clients with servers, {sizes} agents, {concurrent} requests at once, a short prompt and a short answer, no latency: what
is left is what they cost. Each is a process of its own with one loop, used as its documentation shows, as it comes.
Each cell is {rounds} rounds of {requests} requests, or as many as {limit} seconds allow, after a warm-up; all cells
take turns, in an order drawn by seed {seed}. A number is the median of the rounds, in parentheses are the quartiles.

{contestants}
"""
_ABOUT = {
    "swarmpool": "one `VLLMPool` over all agents.",
    "aiohttp": "one `ClientSession`; as a server, one application at as many ports.",
    "httpx": "one `AsyncClient`, which keeps 20 connections; raised limits save it connections, but cost more CPU.",
    "openai": "an `AsyncOpenAI` and so an HTTP client for each agent; it does not repeat failed requests by itself.",
    "fleetsim": "a `Fleet` without latency.",
    "fastapi": "one FastAPI application, and one uvicorn server at as many sockets.",
    "guidellm": "its mock server without latency: one at as many sockets, where its command makes a process for each.",
}
_READING = """\
Timer error is how late a sleep of 10 ms ends in the loop of that process, at the 99th percentile, under this load.
Memory is what is resident at the end of a round, code included. Connections are counted from after the warm-up.
Start-up is how long it takes to import a client and to make it for all agents, or from the start of a process until a
server listens at all its ports.
"""


def page(results: Results, picture: str) -> str:
    """Return the page, in Markdown; `picture` is the path of the drawing beside it."""
    parts = [_introduction(results), *_machine(results), "", f"![CPU per request, clients and servers]({picture})", ""]
    parts += [*_losses(results), "## All figures", "", _READING]
    for agents in results.sizes():
        parts += [f"### {_for(agents).capitalize()}", "", *_cells(results, agents), ""]
    return "\n".join([*parts, "### Start-up, seconds", "", *_starts(results)]) + "\n"


def said(results: Results) -> str:
    """Return the figures for a terminal: the tables of the page, and the sentences on who is better."""
    lines = [*_machine(results), ""]
    for agents in results.sizes():
        lines += [_for(agents), *_cells(results, agents), ""]
    all_of_them = comparisons(results)
    return "\n".join([*lines, *_starts(results), "", *(_verdict(side, all_of_them) for side in OURS)])


def _introduction(results: Results) -> str:
    plan, about = results.plan, [*dict.fromkeys((*results.clients(), *results.servers()))]
    requests = sorted({number for _, number in plan["requests"]})
    return _INTRODUCTION.format(
        seconds=results.machine["seconds"],
        sizes=" / ".join(f"{agents:,}" for agents in results.sizes()),
        concurrent=plan["concurrent"],
        rounds=plan["rounds"],
        requests=" or ".join(f"{number:,}" for number in requests),
        limit=plan["seconds"],
        seed=plan["seed"],
        contestants="\n".join(f"- **{name}**: {_ABOUT[name]}" for name in about),
    )


def _machine(results: Results) -> Iterator[str]:
    machine = results.machine
    yield (
        f"**Machine**: {machine['cpus']} CPUs ({machine['processor']}), {machine['memory_mb'] / 1000:.0f} GB, "
        f"{machine['system']}, Python {machine['python']}; {machine['begun']}."
    )
    yield f"**Versions**: {', '.join(f'{name} {version}' for name, version in results.versions.items())}."
    loops = sorted(set(results.loops.values()))
    yield f"**Loops**: clients on asyncio's, servers on {' and '.join(loops)}."
    before, after = (", ".join(f"{each:g}" for each in machine[f"load_{when}"]) for when in ("before", "after"))
    yield (
        f"**Noise**: the load averages were {before} before and {after} after, of which about 2 are ours. "
        f"From quartile to quartile requests per second spread by {_width(results, 'requests_per_second')}, "
        f"CPU per request by {_width(results, 'client_cpu')} at the clients and "
        f"{_width(results, 'server_cpu')} at the servers (medians over all cells)."
    )
    if results.left_out:
        yield f"**Left out**: {' '.join(results.left_out)}"


def _width(results: Results, name: str) -> str:
    return f"{statistics.median(cell.figures[name].width for cell in results.cells):.0%}"


def _losses(results: Results) -> Iterator[str]:
    all_of_them = comparisons(results)
    yield "## Where we lose"
    yield ""
    yield (
        "How many times better the best of the others is, wherever ours is not the best; a dash where ours is. "
        "In parentheses: the quartiles overlap, so that it may be the other way round next time. "
        "Who failed in a request is nobody's best."
    )
    yield ""
    for side, ours in OURS.items():
        yield _verdict(side, all_of_them)
        yield ""
        mine = [each for each in all_of_them if each.side == side and each.figure is not START]
        against = list(dict.fromkeys(each.against for each in mine))
        yield from _table(
            [f"{ours}", "agents", *(f"{'at' if side == 'client' else 'asked by'} {name}" for name in against)],
            _lost_rows(mine, against),
        )
        yield ""
        starts = [each for each in all_of_them if each.side == side and each.figure is START]
        yield f"Start-up: {'; '.join(f'{_for(each.agents)}: {_lost(each)}' for each in starts)}."
        yield ""


def _lost_rows(mine: Sequence[Comparison], against: Sequence[str]) -> Iterator[list[str]]:
    for title, agents in dict.fromkeys((each.figure.title, each.agents) for each in mine):
        found = {each.against: each for each in mine if (each.figure.title, each.agents) == (title, agents)}
        yield [title, f"{agents:,}", *(_lost(found[name]) if name in found else "" for name in against)]


def _lost(comparison: Comparison) -> str:
    if not comparison.lost or comparison.best is None:
        return "-"
    ours, best = (_number(each.middle) for each in (comparison.ours, comparison.best))
    factor = f"{ours} : {best}" if comparison.factor is None else f"{comparison.factor:.2f}x"
    said = f"{factor} {comparison.who}"
    return f"({said})" if comparison.noise else said


def _verdict(side: str, all_of_them: Sequence[Comparison]) -> str:
    mine = [each for each in all_of_them if each.side == side and each.best is not None]
    lost = [each for each in mine if each.lost]
    clear = sum(not each.noise for each in lost)
    return (
        f"**{OURS[side]}** is not the best in {len(lost)} of {len(mine)} comparisons, "
        f"in {clear} of them by more than the noise."
    )


def _cells(results: Results, agents: int) -> Iterator[str]:
    rows = [cell for cell in results.cells if cell.agents == agents]
    yield from _table(["client", "server", *map(_column, FIGURES.values()), "failed"], map(_row, rows))
    for cell in rows:
        if cell.failures:
            yield f"\n{cell.client} with {cell.server}: {cell.failures:,} requests failed, the first with `{cell.why}`."


def _column(figure: Figure) -> str:
    return f"{figure.title.lower().replace('cpu', 'CPU')}{', ' * bool(figure.unit)}{figure.unit}".replace(", 1/s", "")


def _row(cell: Cell) -> list[str]:
    first, *others = (cell.figures[name] for name in FIGURES)
    return [cell.client, cell.server, _spread(first), *(_number(each.middle) for each in others), f"{cell.failures:,}"]


def _starts(results: Results) -> Iterator[str]:
    for side, names in (("client", results.clients()), ("server", results.servers())):
        starts = [start for start in results.starts if start.of == side]
        columns = [*dict.fromkeys(start.agents for start in starts)]
        found = {(start.name, start.agents): _spread(start.seconds) for start in starts}
        rows = ([name, *(found.get((name, agents), "") for agents in columns)] for name in names)
        yield from _table([side, *map(_for, columns)], rows)
        yield ""


def _for(agents: int | None) -> str:
    return "import" if agents is None else f"{agents:,} agent{'s' * (agents > 1)}"


def _spread(spread: Spread) -> str:
    return f"{_number(spread.middle)} ({_number(spread.low)} to {_number(spread.high)})"


def _number(value: float) -> str:
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    if value < 0.001:
        return "<0.001"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
