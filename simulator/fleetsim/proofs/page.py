"""The page of the documentation: which client keeps which promise, from a report of `fleetsim prove`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["page"]

Report = Mapping[str, Any]

_INTRODUCTION = """\
# Clients put to the proof

Written by `python docs/clients.py` from one run of `fleetsim prove --client all --seed {seed}`, Python {python}:

{clients}

Each row is a claim about a client's connections, with a scenario that would break it; the verdict rests on what the
client and the fleet have counted. The adapters are an honest best effort: limits and timeouts set, bodies read. What a
client does not have is n/a: sub-clients, exact counts, retries, breakers, hedges, websockets. A verdict is about that
version, used in that way, on loopback; run it yourself on yours.

The claims `faults-...` go over the catalogue of [faults](faults.md). Each fault is met by six requests, unary and
streamed, read to the end, cancelled and timed out; then no slot may be lost and the next 20 requests must get their own
answers. Where such a claim fails, the number is of the cells that were right.
"""
_CELLS = " cells right"
_LONGEST = 400  # characters of a reason


def page(report: Report) -> str:
    """Return the page, in Markdown. `report` is what `fleetsim prove --json` writes, of one or more clients."""
    runs: Sequence[Report] = report["runs"]
    clients = "\n".join(f"- **{run['client']}**: {run['version']}" for run in runs)
    introduction = _INTRODUCTION.format(seed=report["seed"], python=report["python"], clients=clients)
    return "\n".join([introduction, *_matrix(runs), "", *_reasons(runs)]).rstrip() + "\n"


def _matrix(runs: Sequence[Report]) -> Iterator[str]:
    yield f"| claim | {' | '.join(run['client'] for run in runs)} |"
    yield f"|---|{'---|' * len(runs)}"
    for results in zip(*[run["claims"] for run in runs], strict=True):
        name, sentence = results[0]["name"], results[0]["claim"]
        yield f"| **{name}** {sentence} | {' | '.join(map(_verdict, results))} |"


def _verdict(result: Report) -> str:
    verdict, figure = str(result["verdict"]), str(result["client_figure"])
    counted = verdict == "fails" and figure.endswith(_CELLS)
    return f"{verdict}: {figure.removesuffix(_CELLS)}" if counted else verdict


def _reasons(runs: Sequence[Report]) -> Iterator[str]:
    for run in runs:
        failed = [result for result in run["claims"] if result["verdict"] == "fails"]
        if failed:
            yield f"## Why {run['client']} fails\n"
            yield from [f"- **{result['name']}**: {_reason(result['why'])}" for result in failed]
            yield ""


def _reason(why: str) -> str:
    words = " ".join(why.split())
    cut = words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."
    return f"`{cut.replace('`', chr(39))}`"
