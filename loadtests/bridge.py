"""The pool under locust: one asyncio loop in one greenlet of each locust process.

Theory of operation
-------------------
locust runs users as greenlets, the pool runs in asyncio. locust has patched `select` by the time this is imported, so
that an asyncio loop in a greenlet of its own gives way to the others whenever it waits. A user hands a coroutine to
that loop (`Bridge.call`) and sleeps until its result is there. All is one thread: there is no lock, and none is needed.

The bridge is made in `events.init`: after `--processes` has forked, and before any user could race for it. A pool lives
as long as a run, from `test_start` to `test_stop`, so that the counts of two runs are never mixed. `events.quit` closes
the loop.

What is hard: a user that is stopped must not leave its request behind, so the exception that stops it cancels the
coroutine; and a listener of `report_to_master` that raises ends the worker, so that one has to bear that there is no
pool yet.

And a signal must not come upon the loop: Python raises KeyboardInterrupt in whatever runs at that moment, and a loop
that is left by it would answer nobody any more, not even those who are to close the pool. `use_pool` has it raised in
the main greenlet, where locust waits for it.

A busy greenlet delays the loop's timers, and `asyncio.run` cannot be called anywhere in the process.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult
from locust import User, events
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from loadtests.figures import Figures
from loadtests.scenarios import Scenario, timed
from swarmpool import FailureKind, Response, VLLMPool

__all__ = ["Bridge", "BridgeClosed", "PoolUser", "ResponseFailed", "Side", "side_of", "use_pool"]

T = TypeVar("T")

MakePool = Callable[[Any], VLLMPool | None]


class BridgeClosed(RuntimeError):
    """The loop has ended, and what was asked of it with it."""


class ResponseFailed(Exception):
    """A response failed, in a few words: locust lists every different text on a line of its own."""

    def __init__(self, response: Response) -> None:
        status = f" {response.status}" if response.kind is FailureKind.STATUS else ""
        super().__init__(f"{response.kind}{status}")


class Bridge:
    """An asyncio loop in a greenlet. Any number of greenlets of this thread may call it at once."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._greenlet = gevent.spawn(self._loop.run_forever)
        gevent.sleep(0)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the loop, and return or raise what it does. Only this greenlet waits for it.

        What stops this greenlet meanwhile cancels `work`. Raises BridgeClosed when the loop ends first.
        """
        if self._loop.is_closed():
            work.close()
            raise BridgeClosed("the bridge is closed")
        answer: Any = AsyncResult()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            tasks.append(task := self._loop.create_task(work))
            task.add_done_callback(lambda done: _hand_over(done, answer))

        started = self._loop.call_soon_threadsafe(start)
        try:
            result: T = answer.get()
        except BaseException:
            started.cancel()
            self._abandon(work, tasks)
            raise
        return result

    def _abandon(self, work: Coroutine[Any, Any, T], tasks: list[asyncio.Task[T]]) -> None:
        if not tasks:
            work.close()
        elif not tasks[0].done():
            self._loop.call_soon_threadsafe(tasks[0].cancel)

    def close(self) -> None:
        """End the loop, and what still runs in it. Calling it again does nothing."""
        if self._loop.is_closed():
            return
        self.call(_end_the_others())
        self.call(self._loop.shutdown_asyncgens())
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._greenlet.join()
        self._loop.close()


async def _end_the_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _hand_over(done: asyncio.Task[T], answer: Any) -> None:
    if done.cancelled():
        answer.set_exception(BridgeClosed("cancelled in the loop"))
    elif (error := done.exception()) is not None:
        answer.set_exception(error)
    else:
        answer.set(done.result())


class Side:
    """What one locust process has of its own: the bridge, and in a run the pool and what was measured."""

    def __init__(self, make: MakePool) -> None:
        self.bridge = Bridge()
        self.figures = Figures()
        self._make = make
        self._pool: VLLMPool | None = None
        self.users = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a pool."""
        return self._pool is not None

    @property
    def pool(self) -> VLLMPool:
        """The pool of this run. Raises RuntimeError where there is none."""
        if self._pool is None:
            raise RuntimeError("no pool is open: a run opens one when it begins, and closes it when it stops")
        return self._pool

    def begin(self, environment: Any) -> None:
        """Open a pool and count anew."""
        self.end()
        self.figures, self.users = Figures(), 0
        pool = self._make(environment)
        if pool is not None:
            self.bridge.call(pool.__aenter__())
        self._pool = pool

    def end(self) -> None:
        """Close the pool, and keep what it has counted. Calling it again does nothing."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self.bridge.call(pool.close())
            self.figures.look(pool.statistics())

    def close(self) -> None:
        """End the run if there is one, and the loop."""
        self.end()
        self.bridge.close()

    def written(self) -> dict[str, Any]:
        """What was measured up to now, as it goes to the master."""
        if self._pool is not None:
            self.figures.look(self._pool.statistics())
        return self.figures.written()


_sides: dict[int, Side] = {}


def side_of(environment: Any) -> Side | None:
    """The side of this process; None on a master, which has no users."""
    return _sides.get(id(environment))


def _end_on_signals(environment: Any, runner: Any) -> None:
    """Let Ctrl-C end the run whatever it comes upon, and SIGTERM too where locust itself would listen too late: a shape
    without a page is waited for first."""
    awaits_shape = environment.shape_class is not None and environment.web_ui is None
    numbers = (
        (signal.SIGINT, signal.SIGTERM) if awaits_shape and not isinstance(runner, WorkerRunner) else (signal.SIGINT,)
    )
    for number in numbers:
        gevent.signal_handler(number, gevent.get_hub().handle_system_error, KeyboardInterrupt, None)


def use_pool(make: MakePool) -> None:
    """Give each locust process a pool made by `make(environment)` for each run. For the top of a locustfile.

    The pool is opened and closed by the bridge; `make` need only construct it. None is a run without users.
    Ctrl-C and SIGTERM end the run with its pool closed.
    """

    def init(environment: Any, runner: Any, **_: Any) -> None:
        _end_on_signals(environment, runner)
        if not isinstance(runner, MasterRunner):
            _sides[id(environment)] = side = Side(make)
            events.quit.add_listener(lambda **_: side.close())

    def test_start(environment: Any, **_: Any) -> None:
        if (side := side_of(environment)) is not None:
            side.begin(environment)

    def test_stop(environment: Any, **_: Any) -> None:
        if (side := side_of(environment)) is not None:
            side.end()

    events.init.add_listener(init)
    events.test_start.add_listener(test_start)
    events.test_stop.add_listener(test_stop)


class PoolUser(User):
    """A locust user that drives the pool of its process. Subclass it, and say what it does:

        use_pool(lambda environment: VLLMPool(parse_hostfile("fleet.tsv")))

        class Asker(PoolUser):
            def ask(self):
                self.do("ask", ask_one)
            tasks = [ask]

    with `async def ask_one(pool)` returning the response, or several.
    """

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        side = side_of(environment)
        assert side is not None, "users need a pool: call `use_pool(...)` at the top of the locustfile"
        self.side = side
        self.number = side.users
        side.users += 1
        self._is_leaving = False

    def stop(self, force: bool = False) -> bool:
        """Stop the user: between two tasks, or once its task is done; with `force` at once. As locust calls it."""
        self._is_leaving = True
        stopped: bool = super().stop(force)
        return stopped

    def do(self, name: str, run: Scenario) -> list[Response]:
        """Run a scenario, tell locust of it, and return its responses.

        To locust it is one request: its time is that of all of it, its length the tokens of its answers, and it fails
        if one of its responses does. Stopping the user cancels it. What it raises is a failure too, and raised.
        """
        side = self.side
        # Its pause was over in the very moment it was stopped; or the run could not begin, which has been logged.
        if self._is_leaving or not side.is_open:
            raise StopUser
        try:
            seconds, responses = side.bridge.call(timed(name, run, side.pool, side.figures))
        except Exception as error:
            self._tell(name, None, 0, error)
            raise
        failed = next((each for each in responses if not each.success), None)
        self._tell(name, seconds * 1000, _tokens(responses), None if failed is None else ResponseFailed(failed))
        return responses

    def _tell(self, name: str, milliseconds: float | None, tokens: int, error: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="POOL",
            name=name,
            response_time=milliseconds,
            response_length=tokens,
            exception=error,
            context={},
        )


def _tokens(responses: list[Response]) -> int:
    return sum(each.usage.completion_tokens for each in responses if each.usage is not None)
