"""The aggregators: what counts, what wins among equals, and what bad input is told."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmpool.aggregators import best_of, concat, failure_report, majority_vote, statistics, structured_merge, top_k
from swarmpool.responses import EmbeddingResponse, FailureKind, Response


def ok(*texts: str) -> list[Response]:
    return [Response(True, text, agent_index=index) for index, text in enumerate(texts)]


def failed(error: str = "status 503: busy", agent_index: int = 7) -> Response:
    return Response(False, "", error, agent_index, kind=FailureKind.STATUS)


def length(response: Response) -> float:
    return len(response.text)


texts = st.lists(st.text(max_size=5), max_size=8)
numbers = st.floats(-1e150, 1e150)
mixed = st.lists(st.one_of(st.text(max_size=4).map(lambda text: ok(text)[0]), st.builds(failed)), max_size=8)


def test_a_vote_is_counted_without_case_and_outer_space() -> None:
    assert majority_vote(ok("yes", " Yes\n", "no", "YES")) == ("yes", 0.75)


def test_of_equally_many_votes_the_first_text_wins() -> None:
    assert majority_vote(ok("b", "a", "a", "b")) == ("b", 0.5)


def test_nobody_wins_where_nobody_votes() -> None:
    assert majority_vote([]) == majority_vote([failed()]) == ("", 0.0)


def test_failures_vote_only_if_they_are_asked() -> None:
    votes = [*ok("a"), failed(), failed()]
    assert majority_vote(votes) == ("a", 1.0)
    assert majority_vote(votes, include_failures=True) == ("", 2 / 3)


@given(texts.filter(bool))
def test_no_text_has_more_votes_than_the_winner(given_texts: list[str]) -> None:
    winner, share = majority_vote(ok(*given_texts))
    votes = [text.strip().lower() for text in given_texts]
    assert share == max(map(votes.count, votes)) / len(votes)
    assert votes.count(winner) == max(map(votes.count, votes))


@given(mixed)
def test_texts_are_joined_in_their_order_and_failures_left_out(responses: list[Response]) -> None:
    assert concat(responses) == "\n".join(response.text for response in responses if response.success)
    assert concat(responses, "|", include_failures=True).count("|") >= len(responses) - 1


def test_the_best_is_the_first_of_those_with_the_highest_score() -> None:
    responses = [failed(), *ok("bb", "cc", "a")]
    assert best_of(responses, length) is responses[1]
    assert top_k(responses, 2, length) == responses[1:3]


def test_the_best_of_no_success_is_a_failure_that_says_why() -> None:
    none = best_of([failed("status 503: busy"), failed("status 500: oom")], length)
    assert (none.success, none.text, none.kind) == (False, "", FailureKind.STATUS)
    assert none.error == "there is no success to choose from among 2 responses (the first failure: status 503: busy)"
    assert best_of([], length).error == "there is no success to choose from among 0 responses"


@given(mixed, st.integers(0, 10))
def test_the_top_are_the_highest_in_falling_order_with_equals_in_theirs(responses: list[Response], k: int) -> None:
    found = top_k(responses, k, length)
    successes = [response for response in responses if response.success]
    ranks = sorted(range(len(successes)), key=lambda place: (-length(successes[place]), place))
    assert [id(response) for response in found] == [id(successes[place]) for place in ranks[:k]]


@pytest.mark.parametrize("select", [best_of, lambda responses, score: top_k(responses, 2, score)])
def test_a_score_that_is_not_a_number_is_told_with_its_response(select: Any) -> None:
    with pytest.raises(ValueError, match=r"score_fn must give a number .* gave nan for responses\[1\]"):
        select([failed(), *ok("a")], lambda _: math.nan)


@pytest.mark.parametrize(("k", "error"), [(-1, ValueError), (True, TypeError), (1.5, TypeError)])
def test_the_top_of_no_count_is_refused(k: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="k must be"):
        top_k(ok("a"), k, length)


def test_json_texts_are_merged_into_one_list_and_the_others_told_by_agent() -> None:
    merged, errors = structured_merge([*ok('[1, {"a": 2}]', "nope", "3", ""), failed()])
    assert merged == [1, {"a": 2}, 3]
    assert [error["agent_index"] for error in errors] == [1, 3]
    assert all("Expecting value" in error["error"] for error in errors)


def test_a_failure_that_is_merged_says_why_its_request_failed() -> None:
    assert structured_merge([failed()], include_failures=True) == (
        [],
        [{"agent_index": 7, "error": "status 503: busy"}],
    )


def test_json_too_deep_to_be_read_is_an_error_of_its_own_text_alone() -> None:
    merged, errors = structured_merge(ok("[" * 200_000, "1"))
    assert (merged, len(errors)) == ([1], 1)


@given(st.lists(st.lists(st.integers(), max_size=3), max_size=5))
def test_lists_are_poured_out_in_order(values: list[list[int]]) -> None:
    assert structured_merge(ok(*map(json.dumps, values))) == ([one for each in values for one in each], [])


def test_figures_of_texts_as_numbers() -> None:
    assert statistics(ok(" 2\n", "4", "9")) == {
        "mean": 5.0,
        "std": pytest.approx(math.sqrt(13)),
        "median": 4.0,
        "min": 2.0,
        "max": 9.0,
    }


def test_figures_of_nothing_are_zeros_and_one_number_has_no_spread() -> None:
    assert statistics([failed()]) == dict.fromkeys(("mean", "std", "median", "min", "max"), 0.0)
    assert statistics(ok("3"))["std"] == 0.0


def test_a_number_may_be_taken_from_anything() -> None:
    assert statistics(ok("a", "bbb"), length)["mean"] == 2.0


@pytest.mark.parametrize("text", ["about 7", "", "nan", "inf"])
def test_a_text_that_is_no_number_is_told_with_its_response(text: str) -> None:
    with pytest.raises(ValueError, match=rf"responses\[2\], of agent 1, must give a finite number, not '{text}'"):
        statistics([failed(), *ok("1", text)])


def test_a_long_text_is_told_by_its_beginning() -> None:
    with pytest.raises(ValueError, match=r"not '(x{60})\.\.\.'$"):
        statistics(ok("x" * 1000))


def test_what_an_extract_function_gives_must_be_a_number_too() -> None:
    with pytest.raises(ValueError, match=r"responses\[0\], of agent 0, must give a finite number, not None"):
        statistics(ok("1"), lambda _: None)  # type: ignore[arg-type, return-value] # on purpose


@given(st.lists(numbers, min_size=1, max_size=8))
def test_mean_and_median_lie_between_the_extremes(values: list[float]) -> None:
    found = statistics(ok(*map(repr, values)))
    assert found["min"] <= found["mean"] <= found["max"]
    assert found["min"] <= found["median"] <= found["max"]
    assert (found["min"], found["max"]) == (min(values), max(values))
    assert found["std"] >= 0


@given(mixed)
def test_a_report_has_every_failure_and_counts_that_add_up(responses: Sequence[Response]) -> None:
    report = failure_report(responses)
    assert report["total"] == report["success_count"] + report["failure_count"] == len(responses)
    assert report["failures"] == [
        {"agent_index": 7, "error": "status 503: busy"} for response in responses if not response.success
    ]


def test_a_report_reads_embeddings_too() -> None:
    report = failure_report([EmbeddingResponse(True, [1.0]), EmbeddingResponse(False, None, "no", 3)])
    assert (report["failure_count"], report["failures"]) == (1, [{"agent_index": 3, "error": "no"}])
