from __future__ import annotations

import asyncio

import pytest

from fleetsim.proofs.aiohttp_client import client
from fleetsim.proofs.claim import Stage
from fleetsim.proofs.complaints import Complaints
from fleetsim.proofs.guard import guarded
from fleetsim.proofs.witness import WatchedLoop


def problems_of(scenario: object, *, deadline: float = 5.0) -> list[str]:
    loop = WatchedLoop()
    stage = Stage(client, 1, loop, Complaints())
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(guarded(stage, scenario, deadline))  # type: ignore[arg-type]  # any async function does
    assert stage.tasks == []
    return stage.evidence.problems


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def test_a_scenario_that_ends_leaves_no_evidence() -> None:
    async def scenario(stage: Stage) -> None: ...

    assert problems_of(scenario) == []


def test_what_is_raised_is_evidence_with_its_place() -> None:
    async def scenario(stage: Stage) -> None:
        raise KeyError("choices")

    (problem,) = problems_of(scenario)
    assert problem.startswith("raised KeyError: 'choices' (test_proofs_guard.py:")


def test_a_cancellation_that_nobody_sent_is_evidence() -> None:
    async def scenario(stage: Stage) -> None:
        raise asyncio.CancelledError

    (problem,) = problems_of(scenario)
    assert problem.endswith("which nobody had sent")


def test_not_to_end_in_time_is_evidence_and_its_tasks_are_ended() -> None:
    async def scenario(stage: Stage) -> None:
        stage.launch(for_ever())  # type: ignore[arg-type]  # it never has an outcome
        await for_ever()

    assert problems_of(scenario, deadline=0.05) == ["not finished after 0.05 s"]


async def test_cancelling_it_cancels_the_scenario() -> None:
    begun, ended = asyncio.Event(), []

    async def scenario(stage: Stage) -> None:
        try:
            begun.set()
            await for_ever()
        finally:
            ended.append(True)

    loop = asyncio.get_running_loop()
    stage = Stage(client, 1, loop, Complaints())  # type: ignore[arg-type]  # no socket is watched here
    task = loop.create_task(guarded(stage, scenario, 60.0))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (ended, stage.evidence.problems) == ([True], [])
