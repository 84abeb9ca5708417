from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fleetsim import BindError, FleetError, RuleError
from fleetsim.errors import ControlError
from fleetsim.shards.channel import Answers, Calls, Message


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Calls, Answers]]:
    """The two sides of a channel."""
    calls, answers = Calls("shard 7"), Answers()
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    await loop.create_unix_connection(lambda: calls, sock=ours)
    await loop.create_unix_connection(lambda: answers, sock=theirs)
    try:
        yield calls, answers
    finally:
        await calls.close()
        await answers.close()


async def test_calls_may_overlap_and_are_answered_in_any_order() -> None:
    async with connected() as (calls, answers):
        first = asyncio.create_task(calls.call("one", {"words": ["a"]}))
        second = asyncio.create_task(calls.call("two", {}))
        asked = [await anext(answers), await anext(answers)]
        assert [(each["call"], each["with"]) for each in asked] == [("one", {"words": ["a"]}), ("two", {})]
        answers.answer(asked[1], {"is": 2})
        assert await second == {"is": 2}
        assert not first.done()
        answers.answer(asked[0], None)
        assert await first is None


async def test_messages_of_any_length_arrive_whole() -> None:
    async with connected() as (calls, answers):
        text = "\N{SNOWMAN}" * 1_000_000
        call = asyncio.create_task(calls.call("echo", {"text": text}))
        asked = await anext(answers)
        answers.answer(asked, asked["with"]["text"])
        assert await call == text


@pytest.mark.parametrize(
    "error", [RuleError("times: no"), FleetError("not so"), BindError("::1", 80, "Permission denied")], ids=repr
)
async def test_an_error_is_raised_where_the_call_was_made(error: FleetError) -> None:
    async with connected() as (calls, answers):
        call = asyncio.create_task(calls.call("arm", {}))
        answers.refuse(await anext(answers), error)
        with pytest.raises(type(error)) as caught:
            await call
        assert str(caught.value) == str(error)


async def test_whoever_gives_up_tells_the_other_side() -> None:
    async with connected() as (calls, answers):
        call = asyncio.create_task(calls.call("changed", {}))
        asked = await anext(answers)
        call.cancel()
        assert await anext(answers) == {"id": asked["id"], "cancel": True}
        answers.answer(asked, "too late")
        again = asyncio.create_task(calls.call("again", {}))
        answers.answer(await anext(answers), "in time")
        assert await again == "in time"


async def test_when_the_shard_is_gone_calls_fail_those_that_wait_and_those_that_come() -> None:
    async with connected() as (calls, answers):
        call = asyncio.create_task(calls.call("figures", {}))
        await anext(answers)
        await answers.close()
        for late in (call, calls.call("figures", {})):
            with pytest.raises(ControlError, match="shard 7 is gone, and cannot be asked"):
                await late


async def test_when_the_fleet_is_gone_nothing_more_comes_and_answers_go_nowhere() -> None:
    async with connected() as (calls, answers):
        call = asyncio.create_task(calls.call("figures", {}))
        asked: list[Message] = [await anext(answers)]
        await calls.close()
        assert [message async for message in answers] == []
        answers.answer(asked[0], {})
        with pytest.raises(ControlError):
            await call
