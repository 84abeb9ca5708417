"""Plans drawn from a seed.

`draw` has two generators. A *random* plan has a bit of everything at any time. A *contended* one has few sockets, many
who want them at the same few instants, and cancels aimed at hand-overs: races happen where things coincide.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from swarmpool.connection_pool import EventKind
from websocket_hunt.steps import (
    Cancel,
    CancelAfter,
    Close,
    End,
    How,
    Invalidate,
    Kind,
    Lending,
    NetFault,
    Plan,
    Prewarm,
    Request,
    ServerFault,
    Shrink,
    Step,
    Use,
)

__all__ = ["draw", "draw_contended", "draw_random"]

_KINDS: tuple[Kind, ...] = ("agents", "agents", "own", "own", "bare")
_ENDS: tuple[End, ...] = ("well", "well", "well", "well", "badly", "twice", "unread")
_HOWS: tuple[How, ...] = ("acquire", "with", "get")
_AIMS = (EventKind.LEASED, EventKind.LEASED, EventKind.LEASED, EventKind.IDLE, EventKind.OPENED, EventKind.WAITING)
_WEBSOCKET_FAULTS = (
    "refuse_upgrade; status=503",
    "refuse_upgrade; status=401",
    "slow_upgrade; seconds=700ms",
    "wrong_accept",
    "session_deadline; seconds=500ms",
    "idle_deadline; seconds=400ms",
    "websocket_fin; at=0",
    "websocket_fin; at=1",
    "websocket_fin; at=2; seconds=100ms",
    "websocket_rst; at=0; seconds=200ms",
    "websocket_rst; at=1",
    "half_open; at=0",
    "half_open; at=1",
    "no_pong",
    "fragmented_message; size=1",
    "oversized_message; size=5000",
)
_OTHER_FAULTS = ("accept_fin", "accept_rst", "blackhole", "head_fin", "head_rst", "garbage_status", "delay; seconds=1s")
_STRIKES = (
    "reset",
    "reset",
    "blackhole",
    "lose_syn",
    "partition",
    "refuse",
    "fill_backlog",
    "slow",
    "bandwidth",
)
_STANDING = ("kill", "start_up", "refuse", "accept_paused", "stop_reading", "sigterm_drain", "restart")


def draw(chance: Random) -> Plan:
    """A plan of either sort."""
    return (draw_contended if chance.random() < 0.5 else draw_random)(chance)


def draw_random(chance: Random) -> Plan:
    """A bit of everything, over five seconds."""
    lending = _lending(chance, sizes=(None, 1, 2, 3, 5))
    when = [round(chance.uniform(0, 5), 2) for _ in range(chance.randint(3, 12))]
    steps: list[Step] = [
        _task(chance, lending, name, at, pauses=(0.0, 0.05, 0.5, 2.0)) for name, at in enumerate(sorted(when), 1)
    ]
    steps += [Cancel(at=round(chance.uniform(0, 6), 2), name=chance.randint(1, len(when))) for _ in range(_few(chance))]
    steps += _trouble(chance, lambda: round(chance.uniform(0, 5), 2))
    steps += _orders(chance, lambda: round(chance.uniform(0, 5), 2), name=len(when) + 1)
    return (lending, *sorted(steps, key=lambda step: step.at))


def draw_contended(chance: Random) -> Plan:
    """Many at the same few instants for very few websockets."""
    lending = _lending(chance, sizes=(1, 1, 2))
    instants = [chance.choice((0.0, 0.02, 0.04, 0.5)) for _ in range(3)]
    number = chance.randint(3, 12)
    steps: list[Step] = [
        _task(chance, lending, name, chance.choice(instants), pauses=(0.0, 0.0, 0.02, 0.04))
        for name in range(1, number + 1)
    ]
    for _ in range(chance.randint(1, 4)):
        aim = CancelAfter(
            name=chance.choice((0, chance.randint(1, number))),
            kind=chance.choice(_AIMS),
            number=chance.randint(1, number),
            turns=chance.choice((None, None, 0, 0, 1, 2, 3, 5, 8)),
        )
        steps.append(aim)
    if chance.random() < 0.3:
        steps += _trouble(chance, lambda: round(chance.uniform(0, 1), 2))
    if chance.random() < 0.4:
        soon = (0.0, 0.001, 0.01, 0.02, 0.05)  # in the middle of the dials that an instant brings about
        steps += _orders(chance, lambda: chance.choice(instants) + chance.choice(soon), name=number + 1)
    return (lending, *sorted(steps, key=lambda step: step.at))


def _few(chance: Random) -> int:
    return chance.choice((0, 1, 1, 2, 3))


def _lending(chance: Random, sizes: tuple[int | None, ...]) -> Lending:
    options: dict[str, Any] = {"max_size": chance.choice(sizes), "max_reconnect_delay": 4.0}
    options["connect_timeout"] = chance.choice((3.0, 3.0, 1.0, 10.0))
    options["close_timeout"] = chance.choice((0.5, 2.0))
    _maybe(chance, options, 0.3, "reconnect_delay", (None, 0.05, 1.0))
    _maybe(chance, options, 0.2, "max_waiting", (0, 1, 3))
    _maybe(chance, options, 0.2, "max_dialing", (1, 2))
    _maybe(chance, options, 0.2, "max_age", (0.3, 1.0))
    _maybe(chance, options, 0.2, "max_idle", (0.1, 1.0))
    _maybe(chance, options, 0.2, "max_session_duration", (0.2, 2.0))
    _maybe(chance, options, 0.1, "mark_refreshed_on_get", (True,))
    _maybe(chance, options, 0.1, "heartbeat", (4.0,))
    return Lending(
        kind=chance.choice(_KINDS),
        path=chance.choice(("/echo", "/echo", "/echo", "/v1/realtime")),
        options=tuple(options.items()),
        sockets=chance.randint(2, 4),
        slots=chance.randint(1, 3),
        checks=chance.random() < 0.2,
    )


def _maybe(chance: Random, options: dict[str, Any], likely: float, name: str, values: tuple[Any, ...]) -> None:
    if chance.random() < likely:
        options[name] = chance.choice(values)


def _task(chance: Random, lending: Lending, name: int, at: float, pauses: tuple[float, ...]) -> Step:
    which = int(chance.random() < 0.3)
    if lending.kind == "agents" and chance.random() < 0.3:
        return Request(at=at, name=name, which=which)
    return Use(
        at=at,
        name=name,
        which=which,
        how=chance.choice(_HOWS),
        timeout=chance.choice((None, None, None, 0.0, 0.02, 0.5, 4.0)),
        times=chance.choice((0, 1, 1, 2, 4)),
        pause=chance.choice(pauses),
        end=chance.choice(_ENDS),
    )


def _trouble(chance: Random, when: Callable[[], float]) -> list[Step]:
    return [_fault(chance, when()) for _ in range(_few(chance))]


def _fault(chance: Random, at: float) -> Step:
    which, sort = int(chance.random() < 0.3), chance.random()
    if sort < 0.5:
        times = chance.choice((1, 1, 3, None))
        lasting = chance.choice((0.5, 3.0)) if times is None else None
        return ServerFault(at=at, what=chance.choice(_WEBSOCKET_FAULTS), which=which, times=times, lasting=lasting)
    if sort < 0.6:
        return ServerFault(at=at, what=chance.choice(_OTHER_FAULTS), which=which)
    if sort < 0.7:
        lasting = chance.choice((0.2, 2.0))
        return ServerFault(at=at, what=chance.choice(_STANDING), which=which, times=None, lasting=lasting)
    what = chance.choice(_STRIKES)
    settings: dict[str, Any] = {}
    if what not in ("reset", "blackhole", "lose_syn"):
        settings["lasting"] = chance.choice((0.05, 0.5, 3.0))
    if what == "slow":
        settings["factor"] = chance.choice((20, 400))
    elif what == "bandwidth":
        settings["bytes_per_second"] = chance.choice((300, 3000))
    return NetFault(at=at, what=what, which=which, settings=tuple(settings.items()))


def _orders(chance: Random, when: Callable[[], float], name: int) -> list[Step]:
    """What the owner of the pool does to it."""
    steps: list[Step] = []
    for _ in range(_few(chance)):
        at, which = when(), int(chance.random() < 0.3)
        order = chance.random()
        if order < 0.4:
            steps.append(Prewarm(at=at, which=which, number=chance.randint(1, 4)))
        elif order < 0.7:
            steps.append(Invalidate(at=at, which=which))
        elif order < 0.8:
            steps.append(Shrink(at=at, which=which, most=chance.randint(1, 2)))
        else:
            steps.append(Close(at=at, name=name, drain=chance.choice((None, 0.0, 0.3, 1.0))))
            if chance.random() < 0.3:
                steps.append(Cancel(at=at + chance.choice((0.0, 0.2)), name=name))
            name += 1
    return steps
