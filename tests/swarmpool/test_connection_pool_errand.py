from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from virtual_time import run

from swarmpool.connection_pool.errand import Errand, Outcome


class Told:
    """What an errand has told, and when."""

    def __init__(self, work: Coroutine[Any, Any, str], timeout: float | None = 2.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.start = self.loop.time()
        self.ended: list[tuple[float, Outcome[str]]] = []
        self.late: list[str] = []
        self.errand = Errand(self.loop, work, timeout=timeout, ended=self._end, late=self.late.append)

    def _end(self, errand: Errand[str], outcome: Outcome[str]) -> None:
        assert errand is self.errand
        self.ended.append((self.loop.time() - self.start, outcome))

    async def outcome(self) -> Outcome[str]:
        await asyncio.wait([self.errand.task])
        await asyncio.sleep(0)
        [(_, outcome)] = self.ended
        return outcome


async def answer(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


async def stubborn(seconds: float) -> str:
    """Goes on when it is cancelled."""
    end = asyncio.get_running_loop().time() + seconds
    while (left := end - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    return "done at last"


async def broken(error: BaseException) -> str:
    raise error


def test_a_result_is_told() -> None:
    async def scene() -> None:
        outcome = await Told(answer(1.0)).outcome()
        assert (outcome.result, outcome.error, outcome.overdue, outcome.abandoned) == ("done", None, False, False)

    run(scene)


@pytest.mark.parametrize("error", [OSError("broken"), asyncio.CancelledError(), GeneratorExit()], ids=repr)
def test_whatever_it_raises_is_told_and_strikes_nobody(error: BaseException) -> None:
    async def scene() -> None:
        outcome = await Told(broken(error)).outcome()
        assert type(outcome.error) is type(error)
        assert not outcome.overdue

    run(scene)


def test_when_it_is_out_of_time_it_is_cancelled() -> None:
    async def scene() -> None:
        told = Told(answer(60.0))
        outcome = await told.outcome()
        assert (outcome.overdue, outcome.abandoned, told.ended[0][0]) == (True, False, 2.0)

    run(scene)


def test_what_goes_on_all_the_same_is_abandoned_and_its_result_comes_late() -> None:
    async def scene() -> None:
        told = Told(stubborn(60.0))
        outcome = await told.outcome()
        assert (outcome.overdue, outcome.abandoned, told.ended[0][0]) == (True, True, 3.0)
        assert told.late == ["done at last"]

    run(scene)


def test_a_result_in_spite_of_the_cancellation_counts_if_it_comes_soon() -> None:
    async def scene() -> None:
        told = Told(stubborn(2.5))
        outcome = await told.outcome()
        assert (outcome.result, outcome.overdue, told.late) == ("done at last", False, [])

    run(scene)


def test_it_can_be_cancelled_before_its_time_and_twice() -> None:
    async def scene() -> None:
        told = Told(answer(60.0), timeout=None)
        told.errand.cancel()
        told.errand.cancel()
        outcome = await told.outcome()
        assert isinstance(outcome.error, asyncio.CancelledError)
        told.errand.cancel()

    run(scene)
