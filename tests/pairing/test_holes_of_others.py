"""Where each hole of the pools that this one takes the place of is held shut, and the few with no other place.

Sub-pools and life are AS-1 to AS-8, limits and balance AS-9 to AS-17, batches and metadata AV, results AR, embeddings
AE. Those of persistent connections are in tests/swarmpool/test_connection_pool_holes.py.
"""

from __future__ import annotations

import ast
from pathlib import Path

import aiohttp
import pytest
from raw_agent import RawConnection
from vllm_agent import VLLMAgent, chat_answer

from fleetsim import Fleet
from swarmpool import PoolClosed, VLLMPool

TESTS = Path(__file__).resolve().parents[1]
HERE = "pairing/test_holes_of_others.py"
SCENARIOS = "pairing/test_pool_holes.py"

HELD = {
    "AS-1": (SCENARIOS, "test_a_sub_pool_of_a_users_class_has_all_that_the_users_class_has"),
    "AS-2": (SCENARIOS, "test_a_sub_pool_made_before_the_session_is_there_has_no_session_of_its_own"),
    "AS-3": (SCENARIOS, "test_a_closed_pool_does_not_reopen"),
    "AS-4": (SCENARIOS, "test_leaving_a_sub_pool_leaves_the_tree_open_and_its_requests_alone"),
    "AS-5": (HERE, "test_parents_and_children_have_one_session_from_first_to_last"),
    "AS-6": (SCENARIOS, "test_closing_lets_requests_under_way_end_and_tells_those_that_wait"),
    "AS-7": ("swarmpool/test_tree_dropped.py", "test_the_last_reference_is_enough_without_waiting_for_a_collection"),
    "AS-8": (SCENARIOS, "test_a_pool_belongs_to_one_event_loop_and_says_so"),
    "AS-9": (SCENARIOS, "test_connector_limit_bounds_sockets_and_not_only_those_in_use"),
    "AS-10": (SCENARIOS, "test_waiting_for_a_slot_is_no_time_of_the_servers"),
    "AS-11": (SCENARIOS, "test_waiting_for_a_slot_is_bounded_in_time_and_number_and_counted"),
    "AS-12": (SCENARIOS, "test_a_slow_agent_need_not_have_the_same_share"),
    "AS-13": (SCENARIOS, "test_no_slot_is_held_while_a_retry_pauses"),
    "AS-14": (SCENARIOS, "test_tries_are_counted_over_all_layers"),
    "AS-15": (SCENARIOS, "test_what_is_tried_again_hangs_on_the_status_and_not_on_words"),
    "AS-16": (SCENARIOS, "test_no_request_is_lost_to_a_server_that_closes_what_is_idle"),
    "AS-17": (SCENARIOS, "test_many_prompts_are_few_tasks_and_are_taken_as_they_are_needed"),
    "AV-1": (HERE, "test_parents_and_children_have_one_session_from_first_to_last"),
    "AV-2": (SCENARIOS, "test_batches_go_over_the_one_session_within_its_limit"),
    "AV-3": (SCENARIOS, "test_answers_to_a_batch_are_placed_by_their_index_and_a_missing_one_fails_alone"),
    "AV-4": (SCENARIOS, "test_answers_to_a_batch_are_placed_by_their_index_and_a_missing_one_fails_alone"),
    "AV-5": (SCENARIOS, "test_the_model_is_asked_for_once_however_many_ask_first_and_from_whatever_view"),
    "AV-6": (SCENARIOS, "test_a_failure_to_learn_the_context_is_not_kept_for_ever"),
    "AV-7": (SCENARIOS, "test_an_error_of_any_shape_keeps_its_status_and_words"),
    "AV-8": (SCENARIOS, "test_tokens_reach_the_server_as_they_were_given"),
    "AV-9": (SCENARIOS, "test_tokens_reach_the_server_as_they_were_given"),
    "AV-10": (HERE, "test_an_answer_without_text_says_why_it_has_none"),
    "AV-11": ("swarmpool/test_batching.py", "test_the_time_limit_grows_by_waves_up_to_the_cap"),
    "AR-1": (SCENARIOS, "test_only_a_status_of_2xx_is_a_success_and_every_failure_has_words"),
    "AR-2": (SCENARIOS, "test_only_a_status_of_2xx_is_a_success_and_every_failure_has_words"),
    "AR-3": (SCENARIOS, "test_a_bug_of_the_caller_is_no_failure_of_an_agent"),
    "AR-4": (SCENARIOS, "test_an_empty_view_is_told_the_same_way_everywhere"),
    "AR-5": (SCENARIOS, "test_a_result_says_which_agent_of_the_tree_it_is_from"),
    "AR-6": (SCENARIOS, "test_an_index_that_is_none_is_told_and_samples_can_be_repeated"),
    "AR-7": (SCENARIOS, "test_an_index_that_is_none_is_told_and_samples_can_be_repeated"),
    "AR-8": (SCENARIOS, "test_an_endpoint_can_be_hashed_and_its_tags_are_its_own"),
    "AR-9": (SCENARIOS, "test_hostfiles_are_read_as_they_are_meant_or_refused"),
    "AE-1": ("swarmpool/test_embedding_pool.py", "test_closing_closes_everything_and_a_closed_pool_stays_closed"),
}


def test_every_hole_has_its_place() -> None:
    counts = {"AS": 17, "AV": 11, "AR": 9, "AE": 1}
    assert set(HELD) == {f"{kind}-{number}" for kind, count in counts.items() for number in range(1, count + 1)}


@pytest.mark.parametrize("hole", HELD)
def test_the_test_that_holds_a_hole_shut_is_there(hole: str) -> None:
    module, name = HELD[hole]
    tree = ast.parse((TESTS / module).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


async def test_parents_and_children_have_one_session_from_first_to_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools of 1,500 agents had a client for each, and a child went on with the session of its parent's last life."""
    made: list[aiohttp.ClientSession] = []
    init = aiohttp.ClientSession.__init__

    def counted(session: aiohttp.ClientSession, *arguments: object, **options: object) -> None:
        made.append(session)
        init(session, *arguments, **options)  # type: ignore[arg-type]  # whatever it was given

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", counted)
    async with Fleet(3) as fleet:
        pool = VLLMPool([*fleet.endpoints, *[("127.0.0.1", port) for port in range(20_000, 21_497)]], "sim", 4)
        children = [pool.select([index]) for index in range(3)]
        assert pool.size == 1_500
        assert made == []
        assert [(await child.post(0, "hi", 4)).success for child in children] == [True] * 3
        assert [response.success for response in await pool.slice(0, 3).send_all_batched(["hi"] * 3, 4)] == [True] * 3
        assert len(made) == 1
        await pool.close()
        for view in (pool, *children):
            with pytest.raises(PoolClosed):
                await view.post(0, "hi", 4)
        assert len(made) == 1


@pytest.mark.parametrize("finish_reason", ["length", "content_filter"])
async def test_an_answer_without_text_says_why_it_has_none(finish_reason: str) -> None:
    """It was a success like any other: nothing but an empty text was left of it."""

    class Silent(VLLMAgent):
        def _route(self, connection: RawConnection) -> None:
            connection.write(chat_answer(None, finish_reason))

    async with Silent() as agent, VLLMPool([agent.endpoint], "sim", 4, model_max_context=4096) as pool:
        response = await pool.post(0, "hi")
        assert (response.text, response.finish_reason) == ("", finish_reason)
        assert response.usage is not None
        assert response.usage.completion_tokens == 3
