"""The leak gate as a pytest plugin: a test that leaves something behind fails, that very test, with the evidence.

It watches from before a test's first fixture to after its last finalizer, and looks at a loop after all other fixtures
are gone and before its runner cancels what is left. What fixtures of a wider scope open while they are set up is theirs
to close, and so is what the shared fleet opens. A failed test's traceback keeps its frames alive; the gate drops it, or
the next test would be blamed.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest

from fleetsim.testing.leaks import Watch, collect_garbage, forget_last_error, open_clients

__all__ = ["LeakGate"]


class LeakGate:
    """Watches every test that is `wanted`. One per process, registered once the tests are collected."""

    def __init__(self, wanted: Callable[[pytest.Item], bool]) -> None:
        self._wanted = wanted
        self._known: weakref.WeakSet[Any] = weakref.WeakSet(open_clients())
        self._runners: weakref.WeakSet[asyncio.Runner] = weakref.WeakSet()
        self.watch: Watch | None = None
        collect_garbage()
        gc.freeze()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        if self._wanted(item):
            # What tests without the gate left is not this test's: collected now, it complains before the watch is on.
            forget_last_error()
            collect_garbage()
            self._known.update(open_clients())
            self.watch = Watch(self._known)
            for runner in self._runners:
                self.watch.accept_tasks(runner)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        value = yield
        if isinstance(value, asyncio.Runner):
            self._note_runner(value, fixturedef)
        if self.watch is not None and outlives_the_test(fixturedef):
            self.watch.accept_what_is_open()
            for runner in self._runners:
                self.watch.accept_tasks(runner)
        return value

    def _note_runner(self, runner: asyncio.Runner, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._runners.add(runner)
        # Finalizers run last in, first out: after all that used the runner, before it cancels what is left.
        fixturedef.addfinalizer(partial(self._last_look, runner))

    def _last_look(self, runner: asyncio.Runner) -> None:
        if self.watch is not None:
            self.watch.inspect_loop(runner)
        self._runners.discard(runner)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            result = yield
        except BaseException as error:
            for line in self._finish():
                error.add_note(line)
            raise
        if leaks := self._finish():
            pytest.fail("\n".join([f"{item.nodeid} left something behind:", *leaks]), pytrace=False)
        return result

    def _finish(self) -> list[str]:
        watch, self.watch = self.watch, None
        if watch is None:
            return []
        for runner in self._runners:
            watch.inspect_loop(runner)
        return watch.finish()


def outlives_the_test(fixturedef: pytest.FixtureDef[Any]) -> bool:
    # The fixture `fleet` is a test's own, and the fleet it lends is not.
    return fixturedef.scope != "function" or fixturedef.func.__module__ == "fleetsim.pytest_plugin"
