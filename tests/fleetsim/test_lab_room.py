from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession

from fleetsim.fleet import Fleet
from fleetsim.lab import room as room_module
from fleetsim.lab.reader import NotReadable
from fleetsim.lab.room import Room, Visit, answering, background, visit


def account_of(run: object) -> room_module.Account:
    return visit(Room("some", "Some claim.", run))  # type: ignore[arg-type]


def test_an_account_tells_steps_and_conclusion_and_agrees_where_all_came_out_as_claimed() -> None:
    async def run(notes: Visit) -> None:
        notes.row("asked", connector="1 acquired", fleet="1 in flight", why="Nobody answered.")
        notes.expect("acquired", 1, 1)
        notes.conclusion = "one"

    account = account_of(run)
    assert (account.name, account.claim, account.agrees, account.conclusion) == ("some", "Some claim.", True, "one")
    assert [(row.done, row.why) for row in account.rows] == [("asked", "Nobody answered.")]


def test_what_comes_out_otherwise_is_told_with_both_values() -> None:
    async def run(notes: Visit) -> None:
        notes.expect("acquired", 2, 1)

    account = account_of(run)
    assert not account.agrees
    assert account.problems == ("acquired: claimed 1, found 2",)


def test_a_figure_that_cannot_be_read_is_no_agreement() -> None:
    async def run(notes: Visit) -> None:
        notes.expect("acquired", NotReadable("_acquired"), 1)

    assert account_of(run).problems[0].startswith("acquired: not readable on aiohttp ")


def test_an_error_of_aiohttp_that_nobody_counted_on_is_a_problem_and_no_crash() -> None:
    async def run(notes: Visit) -> None:
        async with Fleet(1, answer=answering(), ending="before_head") as fleet, ClientSession() as session:
            await session.post(fleet.urls[0])

    assert account_of(run).problems == ("raised ServerDisconnectedError: Server disconnected",)


def test_a_bug_of_a_room_is_raised() -> None:
    async def run(notes: Visit) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        account_of(run)


def test_a_room_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(notes: Visit) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(room_module, "ROOM_DEADLINE", 0.01)
    assert account_of(run).problems == ("not finished after 0.01 s",)


def test_a_step_claims_its_figures_and_gives_up_its_reason_where_they_differ() -> None:
    async def run(notes: Visit) -> None:
        notes.step("one", connector={"acquired": (1, 1)}, fleet={"open": (2, 2)}, why="So.")
        notes.step("two", connector={"acquired": (1, 1)}, fleet={"open": (2, 3)}, why="So.")

    account = account_of(run)
    assert [(row.connector, row.fleet) for row in account.rows] == [("acquired 1", "open 2")] * 2
    assert [row.why == "So." for row in account.rows] == [True, False]
    assert account.problems == ("two: open: claimed 3, found 2",)


async def test_what_runs_in_the_background_is_over_when_its_context_is() -> None:
    async with background() as start:
        waiting = start(asyncio.Event().wait())
        done = start(asyncio.sleep(0, "done"))
        assert await done == "done"
    assert waiting.cancelled()


async def test_an_answer_without_a_body_of_its_own_tells_the_path() -> None:
    async with (
        Fleet(1, answer=answering(b"")) as fleet,
        ClientSession() as session,
        session.get(f"{fleet.urls[0]}/one") as response,
    ):
        assert await response.text() == "/one"
