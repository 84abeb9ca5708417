from __future__ import annotations

from typing import Any, cast

import pytest
from answers import hello

from fleetsim.book import Book
from fleetsim.engine import Halt
from fleetsim.exchange import Answer, ApiRequest, Reply, Unary
from fleetsim.process import ServerProcess
from fleetsim.wire.settings import WireSettings

REQUEST = ApiRequest("GET", "/", "", {}, b"")


class Steered:
    """An answer with an engine: notes how it is steered."""

    def __init__(self) -> None:
        self.steered: list[tuple[float, Halt | None]] = []

    async def __call__(self, request: ApiRequest) -> Reply:
        return Unary(200, b"own")

    def steer(self, *, pace: float, halt: Halt | None) -> None:
        self.steered.append((pace, halt))


def process(answer: Answer) -> tuple[ServerProcess, WireSettings]:
    settings = WireSettings(answer)
    return ServerProcess(cast("Any", None), settings, Book(), cast("Any", None)), settings


def through(mark: bytes) -> Any:
    def wrapping(inner: Answer) -> Answer:
        async def answer(request: ApiRequest) -> Reply:
            reply = await inner(request)
            assert isinstance(reply, Unary)
            return Unary(200, reply.body + mark)

        return answer

    return wrapping


async def said(settings: WireSettings) -> bytes:
    reply = await settings.answer(REQUEST)
    assert isinstance(reply, Unary)
    return reply.body


async def test_paces_multiply_and_come_off_one_by_one() -> None:
    one, settings = process(answer := Steered())
    twice, thrice, again = one.slow_down(2), one.slow_down(3), one.slow_down(2)
    for undo in (twice, again, thrice):
        await undo()
    assert [pace for pace, _ in answer.steered] == [2, 6, 12, 6, 3, 1]
    assert settings.answer is answer


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_of_several_halts_the_worst_decides_in_whatever_order_they_come(order: tuple[int, ...]) -> None:
    one, _ = process(answer := Steered())
    halts = [Halt.DEAD, Halt.DRAINING, Halt.ASLEEP]
    undone = {which: one.halt(halts[which], through(b"!")) for which in order}
    assert answer.steered[-1] == (1, Halt.DEAD)
    await undone[0]()
    assert answer.steered[-1] == (1, Halt.DRAINING)
    await undone[1]()
    assert answer.steered[-1] == (1, Halt.ASLEEP)
    await undone[2]()
    assert answer.steered[-1] == (1, None)


async def test_an_answer_without_an_engine_is_asked_through_what_the_halt_brings() -> None:
    one, settings = process(hello)
    asleep, dead = one.halt(Halt.ASLEEP, through(b" asleep")), one.halt(Halt.DEAD, through(b" dead"))
    assert await said(settings) == b'{"read":0} dead'
    await dead()
    assert await said(settings) == b'{"read":0} asleep'
    await asleep()
    assert settings.answer is hello


async def test_wrappings_are_asked_from_the_last_to_the_first() -> None:
    one, settings = process(Steered())
    first, _ = one.answer_through(through(b" first")), one.answer_through(through(b" second"))
    assert await said(settings) == b"own first second"
    await first()
    assert await said(settings) == b"own second"


async def test_a_new_answer_is_steered_and_wrapped_as_the_old_one() -> None:
    one, settings = process(hello)
    one.slow_down(2)
    one.answer_through(through(b"!"))
    one.answer_with(answer := Steered())
    assert (await said(settings), answer.steered) == (b"own!", [(2, None)])
