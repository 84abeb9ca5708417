"""From many responses to one value: votes, texts, the best, numbers, and what failed. Pure.

Failed responses are left out unless `include_failures` is true, and `failure_report` says which they were.
"""

from __future__ import annotations

import json
import math
import statistics as figures
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from swarmpool.options import count
from swarmpool.responses import EmbeddingResponse, Response

__all__ = [
    "best_of",
    "concat",
    "failure_report",
    "majority_vote",
    "statistics",
    "structured_merge",
    "top_k",
]

_SHOWN = 60  # characters of a text in an error


def majority_vote(responses: Sequence[Response], include_failures: bool = False) -> tuple[str, float]:
    """The most frequent text and its share of the votes; ("", 0.0) if there are none.

    Texts are compared without the space around them and in lower case; of equally many, the first one given wins.
    """
    votes = Counter(response.text.strip().lower() for _, response in _counted(responses, include_failures))
    if not votes:
        return "", 0.0
    [(winner, number)] = votes.most_common(1)
    return winner, number / votes.total()


def concat(responses: Sequence[Response], separator: str = "\n", include_failures: bool = False) -> str:
    """The texts in their order, with `separator` between them."""
    return separator.join(response.text for _, response in _counted(responses, include_failures))


def best_of(
    responses: Sequence[Response], score_fn: Callable[[Response], float], include_failures: bool = False
) -> Response:
    """The response with the highest score, the first of equals; a failed one if there is none to choose from.

    Raises ValueError for a score that is NaN. What `score_fn` raises is passed on.
    """
    best = top_k(responses, 1, score_fn, include_failures)
    return best[0] if best else nothing_succeeded("to choose from", responses)


def top_k(
    responses: Sequence[Response], k: int, score_fn: Callable[[Response], float], include_failures: bool = False
) -> list[Response]:
    """The `k` responses with the highest scores, the highest first, equals in their order; fewer if there are fewer.

    Raises ValueError for a score that is NaN and for a negative `k`. What `score_fn` raises is passed on.
    """
    count("k", k, at_least=0)
    scored = [
        (_score(place, score_fn(response)), response) for place, response in _counted(responses, include_failures)
    ]
    scored.sort(key=lambda pair: pair[0], reverse=True)
    return [response for _, response in scored[:k]]


def structured_merge(
    responses: Sequence[Response], include_failures: bool = False
) -> tuple[list[Any], list[dict[str, Any]]]:
    """The texts as JSON values in one list, lists poured out into it; and what is no JSON, by agent and error."""
    merged: list[Any] = []
    errors: list[dict[str, Any]] = []
    for _, response in _counted(responses, include_failures):
        try:
            value = json.loads(response.text)
        except (ValueError, RecursionError) as error:
            errors.append({"agent_index": response.agent_index, "error": response.error or str(error)})
        else:
            merged.extend(value if isinstance(value, list) else [value])
    return merged, errors


def statistics(
    responses: Sequence[Response],
    extract_fn: Callable[[Response], float] | None = None,
    include_failures: bool = False,
) -> dict[str, float]:
    """`mean`, `std` (of a sample), `median`, `min` and `max` of the texts as numbers; all 0.0 if there are none.

    `extract_fn` takes the number from a response instead. Raises ValueError for one that is no finite number, and
    names the response. What `extract_fn` raises is passed on.
    """
    values = [
        _finite(place, response, response.text.strip() if extract_fn is None else extract_fn(response))
        for place, response in _counted(responses, include_failures)
    ]
    if not values:
        return dict.fromkeys(("mean", "std", "median", "min", "max"), 0.0)
    return {
        "mean": figures.mean(values),
        "std": figures.stdev(values) if len(values) > 1 else 0.0,
        "median": figures.median(values),
        "min": min(values),
        "max": max(values),
    }


def failure_report(responses: Sequence[Response] | Sequence[EmbeddingResponse]) -> dict[str, Any]:
    """`total`, `success_count`, `failure_count`, and `failures` as a list of `agent_index` and `error`."""
    failures = [
        {"agent_index": response.agent_index, "error": response.error} for response in responses if not response.success
    ]
    return {
        "total": len(responses),
        "success_count": len(responses) - len(failures),
        "failure_count": len(failures),
        "failures": failures,
    }


def nothing_succeeded(purpose: str, responses: Sequence[Response]) -> Response:
    """The failed response where no success is left; it says how many failed, and has the kind of the first of them."""
    failed = next((response for response in responses if not response.success), None)
    said = "" if failed is None else f" (the first failure: {failed.error})"
    error = f"there is no success {purpose} among {len(responses)} responses{said}"
    return Response(success=False, text="", error=error, kind=None if failed is None else failed.kind)


def _counted(responses: Sequence[Response], include_failures: bool) -> Iterator[tuple[int, Response]]:
    """Those that count, each with its place among all."""
    return ((place, response) for place, response in enumerate(responses) if include_failures or response.success)


def _score(place: int, score: float) -> float:
    if score != score:  # NaN alone, of whatever type
        raise ValueError(f"score_fn must give a number that can be compared, but gave {score!r} for responses[{place}]")
    return score


def _finite(place: int, response: Response, value: str | float) -> float:
    try:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError) as error:
        shown = value if not isinstance(value, str) or len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
        raise ValueError(
            f"responses[{place}], of agent {response.agent_index}, must give a finite number, not {shown!r}"
        ) from error
    return number
