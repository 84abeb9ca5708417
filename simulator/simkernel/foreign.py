"""What is replaced of other packages while a run is on, also of those that the run itself imports.

- aiodns, pycares and uvloop would bring sockets or a loop of their own: what makes them raises SimEscape;
- of aiohttp, the default resolver (aiodns, where it is installed), the generator of websocket masks (made at import,
  from real entropy), and the hash of its connections (sets of them are ordered by address);
- `platform` asks a process what processor this is, and so does openai with its first request: nobody knows.

A module that is loaded is guarded as the run begins. One that is imported in the middle is guarded before its importer
sees it, by a finder that stands first on `sys.meta_path` for as long as the run lasts.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from simkernel import world

__all__ = ["Foreign"]

Set = Callable[[Any, str, Any], None]
"""Sets an attribute until the run ends."""


class Foreign(MetaPathFinder):
    """The guards of one run. `put` is used for what has to be put back."""

    def __init__(self, here: world.World, put: Set) -> None:
        self._put = put
        self._mask_seed = [here.entropy.getrandbits(64) for _ in range(2)][-1]  # drawn whether aiohttp is there or not
        self._guards: dict[str, Callable[[ModuleType], None]] = {
            "platform": self._guard_platform,
            "aiodns": partial(self._forbid, names=("DNSResolver",)),
            "pycares": partial(self._forbid, names=("Channel",)),
            "uvloop": partial(self._forbid, names=("new_event_loop", "Loop")),
            "aiohttp.connector": self._guard_connector,
            "aiohttp.client_proto": self._guard_protocol,
            "aiohttp._websocket.writer": self._guard_writer,
            "aiohttp.http_websocket": self._guard_writer,
        }

    def guard_loaded(self) -> None:
        """Guard what has been imported by now."""
        for name, guard in self._guards.items():
            module = sys.modules.get(name)
            if module is not None:
                guard(module)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find what the other finders do, to be guarded once it is loaded. Other threads' imports are their own."""
        guard = self._guards.get(fullname)
        if guard is None or world.current() is None:
            return None
        others = (finder.find_spec for finder in sys.meta_path if finder is not self)
        spec = next((spec for find in others if (spec := find(fullname, path, target)) is not None), None)
        if spec is not None and spec.loader is not None:
            _guard_when_loaded(spec.loader, guard)
        return spec

    def _forbid(self, module: ModuleType, names: tuple[str, ...]) -> None:
        for name in names:
            if hasattr(module, name):
                self._put(module, name, _forbidden(f"{module.__name__}.{name}", getattr(module, name)))

    def _guard_platform(self, module: ModuleType) -> None:
        for cache, empty in (("_uname_cache", None), ("_platform_cache", {})):
            if hasattr(module, cache):
                self._put(module, cache, empty)  # what is told in a run is not to be told after it
        if hasattr(module, "_Processor"):
            self._put(module._Processor, "from_subprocess", staticmethod(_nothing))  # noqa: SLF001  # all its ways end there

    def _guard_connector(self, module: ModuleType) -> None:
        self._put(module, "DefaultResolver", sys.modules["aiohttp.resolver"].ThreadedResolver)

    def _guard_protocol(self, module: ModuleType) -> None:
        _number_instances(vars(module)["ResponseHandler"])

    def _guard_writer(self, module: ModuleType) -> None:
        make = getattr(vars(module).get("WebSocketWriter"), "__init__", None)
        for default in (getattr(make, "__kwdefaults__", None) or {}).values():
            if isinstance(default, random.Random):
                default.seed(self._mask_seed)


def _nothing() -> None:
    """What `platform` is told where there is no `uname`."""


def _guard_when_loaded(loader: Any, guard: Callable[[ModuleType], None]) -> None:
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module
        load(module)
        guard(module)

    loader.exec_module = exec_module


def _forbidden(name: str, real: Any) -> Any:
    """As `world.forbidden`; of a class it is still a class, for whoever asks what it is no instance of."""
    call = world.forbidden(name, real)
    if not isinstance(real, type):
        return call
    return type(real.__name__, (real,), {"__new__": lambda _, *args, **options: call(*args, **options)})


def _number_instances(kind: type) -> None:
    """Give the instances a hash in order of their being asked for it. It stays: they may live in sets after a run."""
    if "__hash__" not in vars(kind):
        kind.__hash__ = _numbered  # type: ignore[method-assign, assignment]  # the point of it


def _numbered(self: Any) -> int:
    number: int | None = getattr(self, "_simkernel_number", None)
    if number is None:
        here = world.current()
        number = object.__hash__(self) if here is None else here.next_number()
        self._simkernel_number = number
    return number
