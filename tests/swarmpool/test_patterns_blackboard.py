"""Rounds on a board: who writes where and reads what, when it ends, and what is left if it is ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from echoing import echoing, prompts_of

from fleetsim import Fleet
from swarmpool import EmptyPool, VLLMPool
from swarmpool.errors import MisuseError
from swarmpool.patterns.blackboard import Blackboard
from swarmpool.progress import Progress

Board = dict[str, list[str]]
TWO_AND_ONE = [{"role": "ideas"}, {"role": "doubts"}, {"role": "ideas"}, {"role": "nobody"}]
KNOWN: dict[str, Any] = {"model": "sim", "model_max_context": 4096, "max_tokens": 2}


def counts(section: str, board: Board) -> str:
    return f"{section} " + " ".join(f"{name}={len(texts)}" for name, texts in board.items())


async def test_each_role_adds_to_its_section_and_reads_all_that_is_there_by_then() -> None:
    async with echoing(4, TWO_AND_ONE) as (agents, pool):
        blackboard = Blackboard(["ideas", "doubts"], counts)
        board = await blackboard.run(pool, max_rounds=2, max_tokens=5)
        assert board is blackboard.board
        assert board == {
            "ideas": ["ideas ideas=0 doubts=0"] * 2 + ["ideas ideas=2 doubts=1"] * 2,
            "doubts": ["doubts ideas=2 doubts=0", "doubts ideas=4 doubts=1"],
        }
        assert (blackboard.round, blackboard.failures, blackboard.unserved) == (2, (), ())
        assert prompts_of(agents[3]) == []
        assert agents[0].sent[0]["max_tokens"] == 5


async def test_it_ends_when_it_has_converged_and_may_be_run_again() -> None:
    async with echoing(1, [{"role": "ideas"}]) as (_, pool):
        blackboard = Blackboard(["ideas"], counts)
        await blackboard.run(pool, 10, lambda board: len(board["ideas"]) >= 3)
        assert blackboard.round == 3
        await blackboard.run(pool, 0)
        await blackboard.run(pool, 1)
        assert (blackboard.round, len(blackboard.board["ideas"])) == (4, 4)


async def test_a_snapshot_is_a_deep_copy() -> None:
    async with echoing(1, [{"role": "ideas"}]) as (_, pool):
        blackboard = Blackboard(["ideas"], counts)
        await blackboard.run(pool, 1)
        snapshot = blackboard.snapshot()
        blackboard.board["ideas"].append("mine")
        assert snapshot == {"round": 1, "board": {"ideas": ["ideas ideas=0"]}}


async def test_a_section_without_agents_is_only_read_and_named() -> None:
    async with echoing(1, [{"role": "ideas"}]) as (_, pool):
        blackboard = Blackboard(["facts", "ideas"], lambda section, board: board["facts"][0])
        blackboard.board["facts"].append("water is wet")
        await blackboard.run(pool, 1)
        assert blackboard.board == {"facts": ["water is wet"], "ideas": ["water is wet"]}
        assert blackboard.unserved == ("facts",)


async def test_agents_that_fail_are_told_by_round_and_section() -> None:
    seen: list[Progress] = []
    roles = [{"role": "ideas"}, {"role": "ideas"}, {"role": "doubts"}]
    async with Fleet(3, tags=roles) as fleet, VLLMPool(fleet.endpoints, **KNOWN) as pool:
        fleet[1].script("ok", "unavailable")
        blackboard = Blackboard(["ideas", "doubts"], counts)
        board = await blackboard.run(pool, 2, progress=seen.append)
        assert [len(board[section]) for section in board] == [3, 2]
        [failure] = blackboard.failures
        assert (failure.tree_index, failure.status) == (1, 503)
        assert str(failure.error).startswith("round 2, section 'ideas': status 503")
    assert [moment.step for moment in seen if moment.done == moment.total] == [
        "round 1, section 'ideas'",
        "round 1, section 'doubts'",
        "round 2, section 'ideas'",
        "round 2, section 'doubts'",
    ]
    assert seen[4] == Progress("round 2, section 'ideas'", 2, 2, 1)


async def test_cancelled_in_a_round_the_board_has_what_was_finished() -> None:
    roles = [{"role": "ideas"}, {"role": "doubts"}]
    async with Fleet(2, tags=roles) as fleet, VLLMPool(fleet.endpoints, **KNOWN) as pool:
        blackboard = Blackboard(["ideas", "doubts"], counts)
        with fleet[1].hold() as gate:
            task = asyncio.create_task(blackboard.run(pool, 1))
            await gate.wait_for(in_flight=1)
            with pytest.raises(MisuseError, match="runs already"):
                await blackboard.run(pool, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert blackboard.round == 0
        assert [len(texts) for texts in blackboard.board.values()] == [1, 0]
        assert pool.statistics().admission.in_flight == 0
        await blackboard.run(pool, 1)
        assert blackboard.round == 1


async def test_what_a_function_of_the_caller_raises_is_passed_on() -> None:
    def prompt(section: str, board: Board) -> str:
        raise LookupError("no idea")

    async with echoing(1, [{"role": "ideas"}]) as ([agent], pool):
        with pytest.raises(LookupError, match="no idea"):
            await Blackboard(["ideas"], prompt).run(pool)
        with pytest.raises(TypeError, match="prompt must be text, not NoneType"):
            await Blackboard(["ideas"], lambda *_: None).run(pool)  # type: ignore[arg-type] # on purpose
        assert agent.sent == []


async def test_a_view_without_any_of_the_roles_is_empty() -> None:
    async with echoing(1, [{"role": "ideas"}]) as (_, pool):
        with pytest.raises(EmptyPool, match=r"no agent of this view has one of the sections \['doubts'\]"):
            await Blackboard(["doubts"], counts).run(pool)
        with pytest.raises(ValueError, match="max_rounds must be at least 0"):
            await Blackboard(["ideas"], counts).run(pool, -1)


@pytest.mark.parametrize(
    ("sections", "prompt_fn", "error", "message"),
    [
        ("ideas", counts, TypeError, "sections must be a collection"),
        (["a", "a"], counts, ValueError, "sections must have different names"),
        ([7], counts, TypeError, "a section must be text"),
        (["a"], "prompt", TypeError, "prompt_fn must be a function"),
    ],
)
def test_sections_and_prompts_are_checked_at_once(
    sections: Any, prompt_fn: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Blackboard(sections, prompt_fn)
