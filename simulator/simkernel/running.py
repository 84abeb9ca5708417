"""One run of a program in a simulated world: `run`, `attempt`, and the self-check `verify`."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from simkernel.errors import SimError
from simkernel.faults import Net
from simkernel.guards import guarded
from simkernel.loop import SimLoop
from simkernel.settings import Settings
from simkernel.statistics import Statistics
from simkernel.trace import Event, compare, digest
from simkernel.world import World

__all__ = ["Main", "Result", "Unhandled", "attempt", "run", "verify"]

T = TypeVar("T")

Main = Callable[[Net], Coroutine[Any, Any, T]]


@dataclass(frozen=True, slots=True)
class Unhandled:
    """What asyncio was told that nobody handled, and when, in virtual seconds from the start."""

    seconds: float
    message: str
    exception: BaseException | None


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """What a run came to. Two runs of a seed have the same trace and digest, on one Python and one aiohttp."""

    seed: int
    value: T | None
    error: BaseException | None
    """What `main` raised, or what ended the run; None from `run`, which raises it."""
    trace: list[Event]
    statistics: Statistics
    unhandled: list[Unhandled]

    @property
    def digest(self) -> str:
        """24 hexadecimal digits that are equal for equal traces, worked out anew each time."""
        return digest(self.trace)


def run(main: Main[T], seed: int = 4711, **settings: Any) -> Result[T]:
    """Run `main(net)` in a world of its own, and return what came of it. `settings` are those of `Settings`.

    Tasks that are left are cancelled, as `asyncio.run` does. Raises what `main` raises, with the seed in a note;
    SimDeadlock and SimLivelock, with those who wait; SimEscape, also where the program swallowed it; ValueError for a
    setting that makes no sense; SimError inside another run, and RuntimeError inside a running loop. Not to be called
    from two threads at once.
    """
    result = attempt(main, seed, **settings)
    if result.error is not None:
        raise result.error
    return result


def attempt(main: Main[T], seed: int = 4711, **settings: Any) -> Result[T]:
    """As `run`, but what it would raise is the result's `error`, beside the trace that led there."""
    _refuse_inside_a_loop()
    gc.collect(1)  # the run before: nobody else does between runs, and once this one's net is old it would keep its run
    net = Net(seed, Settings(**settings))
    here, unhandled = World(net), list[Unhandled]()
    value: T | None = None
    error: BaseException | None = None
    with guarded(here):
        loop = _open(net, unhandled)
        try:
            value = loop.run_until_complete(main(net))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as raised:  # noqa: BLE001  # it is the result's, and pytest's outcomes are no Exception
            error = raised
        finally:
            unclean = _clean_up(loop)
            _close(loop)
        error = error or unclean
        gc.collect(0)  # what was never awaited or closed says so now, in this run
    error = error or next(iter(here.escapes), None)
    if error is not None:
        error.add_note(f"simkernel: seed {seed}, after {net.now - net.started:g} virtual seconds")
    net.statistics.seconds = net.now - net.started
    return Result(seed, value, error, net.trace.events, net.statistics, unhandled)


def verify(main: Main[T], seed: int = 4711, **settings: Any) -> Result[T]:
    """Run twice, and return the second result. Raises SimDivergence with the first event that differs, and all that
    `run` raises. `main` must not keep anything from one run to the next."""
    first = attempt(main, seed, **settings)
    second = attempt(main, seed, **settings)
    compare(first.trace, second.trace)
    if second.error is not None:
        raise second.error
    return second


def _refuse_inside_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SimError("simkernel.run() makes a loop of its own and cannot be called inside a running one")


def _open(net: Net, unhandled: list[Unhandled]) -> SimLoop:
    loop = SimLoop(net)

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        unhandled.append(Unhandled(net.now - net.started, context.get("message", ""), context.get("exception")))

    loop.set_exception_handler(note)
    asyncio.set_event_loop(loop)
    return loop


def _clean_up(loop: SimLoop) -> Exception | None:
    """Cancel what is left, and return what that ended with, if it is an error."""
    left = sorted(asyncio.all_tasks(loop), key=hash)
    for task in left:
        task.cancel()
    try:
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except Exception as raised:  # noqa: BLE001  # it is the result's
        return raised
    return None


def _close(loop: SimLoop) -> None:
    asyncio.set_event_loop(None)
    loop.close()
