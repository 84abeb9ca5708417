"""Plans, drawn from a `random.Random`: the same from the same.

Random plans try everything there is over a few seconds. Contended plans have few slots and sockets, many callers at the
same instants, and cancels that strike a few turns of the loop after somebody's hand-over; their network delivers on a
grid, so that what should never coincide does.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, get_args

from hunt.steps import (
    Ask,
    AskMany,
    Await,
    Batch,
    CallStep,
    Cancel,
    CancelAfter,
    Close,
    CloseAfter,
    Drop,
    Embed,
    Fault,
    Moment,
    Network,
    Prewarm,
    Setup,
    Step,
    Stream,
    Talk,
    View,
    Warm,
)

__all__ = ["CALM", "CONTENDED", "GRID", "draw_caring", "draw_contended", "draw_random"]

GRID = 0.01
"""Seconds between the instants of a contended plan."""
CALM: dict[str, Any] = {"latency": 0.005, "segments": False}
"""The settings of simkernel that random plans are meant for."""
CONTENDED: dict[str, Any] = {"latency": 0.004, "jitter": 0.0, "quantum": GRID, "segments": False}
"""The same for contended ones."""

_HORIZON = 4.0  # seconds: beyond a keep-alive, so that idle connections expire in the middle
_MOMENTS: tuple[Moment, ...] = get_args(Moment)

_FAULTS = (
    *("accept_fin", "accept_rst", "blackhole", "slow_accept;seconds=300ms"),
    *("before_head", "before_head_rst", "close_reading;how=rst", "close_reading", "stop_reading;seconds=300ms"),
    *("delay;seconds=400ms", "head_dribble;size=40;seconds=5ms", "head_fin;after=30", "head_rst;after=30"),
    *("garbage_status", "long_header", "informational", "bad_header"),
    *("split;gap=20ms", "eager", "delayed;seconds=60ms", "never", "truncated;after=20", "reset;after=20"),
    *("until_close", "length_too_long", "length_too_short", "no_last_chunk", "bad_chunk_size", "stall;seconds=300ms"),
    *("hang;after=10", "endless;size=64;seconds=50ms", "dribble;size=20;seconds=5ms", "bandwidth;rate=2000"),
    *("wrong_encoding", "second_response", "second_response;seconds=50ms"),
    *("no_done", "no_finish", "error_event", "bad_json", "split_event", "merged_events", "comments", "no_space"),
    *("close", "idle_fin", "idle_rst;seconds=100ms", "stale", "stale;how=rst", "close_after;requests=2"),
    *("error_then_fin", "half_close"),
    *("bad_request", "rate_limited", "server_error", "unavailable", "plain_error", "detail_error", "empty_error"),
    *("refuse_upgrade", "slow_upgrade;seconds=200ms", "wrong_accept", "session_deadline;seconds=200ms"),
    *("idle_deadline;seconds=100ms", "websocket_fin", "websocket_rst", "half_open", "no_pong", "fragmented_message"),
)
_STANDING = (
    "refuse",
    "accept_paused",
    "kill",
    "restart;down=500ms",
    "sigterm_abort",
    "sigterm_drain;timeout=500ms",
    "brown_out;factor=5",
    "engine_death",
    "sleep",
)
_STRIKES = (
    *("partition", "refuse", "fill_backlog", "slow", "bandwidth", "lose_syn", "reset", "reset", "blackhole"),
    "dns_fail",
)
_LONG = 300_000  # characters: more than fit into the kernel's buffers


def draw_random(chance: random.Random) -> list[Step]:
    """Anything, at any time."""
    setup = _setup(chance)
    calls = chance.randint(3, 14)
    drawn: list[Step] = [_call(chance, number, setup) for number in range(calls)]
    drawn += [_view(chance, number) for number in range(1, chance.choice((1, 1, 2, 3)))]
    drawn += [Cancel(at=_time(chance), call=chance.randrange(calls)) for _ in range(_few(chance, calls // 3))]
    drawn += [_cancel_after(chance, calls) for _ in range(_few(chance, calls // 4))]
    if chance.random() < 0.7:
        drawn += [_strike(chance, setup) for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.15:
        drawn.append(_prewarm(chance, setup))
    if chance.random() < 0.25:
        drawn += [_close(chance, _time(chance)) for _ in range(chance.choice((1, 1, 2)))]
    return [setup, *sorted(drawn, key=lambda step: step.at)]


def draw_caring(chance: random.Random) -> list[Step]:
    """A plan of either sort, for a pool that does something about agents that fail or are slow."""
    setup, *steps = (draw_contended if chance.random() < 0.5 else draw_random)(chance)
    assert isinstance(setup, Setup)
    cared = replace(
        setup,
        tries=chance.choice((1, 2, 3, 5)),
        unsafe=chance.random() < 0.3,
        failures=chance.choice((None, 1, 2)),
        asks_health=chance.random() < 0.4,
        hedge_after=chance.choice((None, 0.03, 0.1, 0.5)),
        routing=chance.choice((None, "turn", "least", "two", "sticky")),
    )
    return [cared, *(_for_anybody(chance, step) for step in steps)]


def _for_anybody(chance: random.Random, step: Step) -> Step:
    return replace(step, anybody=True) if isinstance(step, (Ask, Stream)) and chance.random() < 0.7 else step


def draw_contended(chance: random.Random) -> list[Step]:
    """Few slots, many callers, coincidences, and cancels in the middle of a hand-over."""
    slots = chance.randint(1, 3)
    setup = Setup(
        agents=chance.randint(1, 2),
        concurrency=slots,
        connector_limit=slots + chance.choice((0, 0, 1)),
        per_agent=chance.choice((None, None, 1)),
        max_waiting=chance.choice((None, None, None, 2)),
        queue_timeout=chance.choice((None, None, chance.randint(5, 16) * GRID)),
        timeout=chance.choice((20.0, 20.0, chance.randint(14, 20) * GRID)),
    )
    calls = chance.randint(3, 8)
    instants = [chance.randrange(12) * GRID for _ in range(chance.randint(1, 3))]
    drawn: list[Step] = [_call(chance, number, setup, at=chance.choice(instants), plain=0.7) for number in range(calls)]
    drawn += [_cancel_after(chance, calls) for _ in range(chance.randint(1, 4))]
    drawn += [Cancel(at=chance.randrange(30) * GRID, call=chance.randrange(calls)) for _ in range(_few(chance, 2))]
    if chance.random() < 0.4:
        drawn.append(_strike(chance, setup, at=chance.randrange(20) * GRID))
    if chance.random() < 0.2:
        drawn += [_close(chance, chance.randrange(30) * GRID) for _ in range(chance.choice((1, 1, 2)))]
    if chance.random() < 0.15:
        drawn.append(_close_after(chance, calls))
    return [setup, *sorted(drawn, key=lambda step: step.at)]


def _setup(chance: random.Random) -> Setup:
    return Setup(
        agents=chance.randint(1, 4),
        concurrency=chance.randint(1, 5),
        connector_limit=chance.randint(1, 6),
        per_agent=chance.choice((None, None, 1, 2)),
        queue_timeout=chance.choice((None, None, None, 0.2, 1.0)),
        max_waiting=chance.choice((None, None, None, 1, 4)),
        timeout=chance.choice((20.0, 20.0, 20.0, 1.0, 0.15)),
        connect_timeout=chance.choice((5.0, 5.0, 0.5)),
        keepalive_timeout=chance.choice((4.0, 4.0, 0.1, 1.0)),
        named=chance.random() < 0.2,
        dns_ttl=chance.choice((None, 0.5)),
    )


def _call(chance: random.Random, number: int, setup: Setup, at: float | None = None, plain: float = 0.4) -> CallStep:
    common: dict[str, Any] = {
        "at": _time(chance) if at is None else at,
        "call": number,
        "view": chance.choice((0, 0, 0, 1, 2)) if at is None else 0,
        "agent": chance.randrange(setup.agents),
        "tokens": chance.randint(1, 8),
    }
    if chance.random() < plain:
        return Ask(**common, padding=_LONG if chance.random() < 0.01 else 0)
    sort = chance.choice(("stream", "stream", "batch", "many", "talk", "warm", "embed"))
    if sort == "embed":
        return Embed(**common, texts=chance.randint(1, 5))
    if sort == "warm" and chance.random() < 0.3:
        return Await(**common, seconds=chance.choice((0.2, 3.0)))
    if sort == "warm":
        return Warm(**common, per_agent=chance.randint(1, 3))
    if sort == "stream":
        return Stream(
            **common,
            leave_after=chance.choice((None, None, 1, 2)),
            how=chance.choice(("break", "drop")),
            pause=chance.choice((0.0, 0.0, 0.02, 0.2)),
            limit=chance.choice((None, None, None, 0.5)),
            idle_timeout=chance.choice((None, None, None, 0.2)),
        )
    if sort == "batch":
        return Batch(**common, prompts=chance.randint(1, 5))
    if sort == "many":
        how: Any = chance.choice(("send_all", "send_all_batched", "stream_all"))
        leave_after = chance.choice((None, None, 1, 2)) if how == "stream_all" else None
        return AskMany(**common, prompts=chance.randint(1, 6), how=how, leave_after=leave_after)
    return Talk(**common, messages=chance.randint(1, 3), pause=chance.choice((0.0, 0.0, 0.1)))


def _prewarm(chance: random.Random, setup: Setup) -> Step:
    return Prewarm(at=_time(chance), agent=chance.randrange(setup.agents), count=chance.randint(1, 3))


def _view(chance: random.Random, number: int) -> Step:
    if chance.random() < 0.1:
        return Drop(at=_time(chance), view=number)
    how: Any = chance.choice(("by_tag", "sample", "select", "slice"))
    return View(
        at=chance.choice((0.0, _time(chance))),
        view=number,
        of=chance.randrange(number),
        how=how,
        first=chance.randrange(3),
        count=chance.randint(1, 3),
    )


def _cancel_after(chance: random.Random, calls: int) -> Step:
    """Mostly where a slot changes hands: as somebody is given one, or as somebody else ends."""
    struck = chance.randrange(calls)
    sort = chance.random()
    if sort < 0.4:
        return CancelAfter(call=struck, of=struck, moment="granted", turns=chance.randrange(4))
    if sort < 0.7:
        return CancelAfter(call=struck, of=chance.randrange(calls), moment="ended", turns=chance.randrange(4))
    return CancelAfter(
        call=struck, of=chance.randrange(calls), moment=chance.choice(_MOMENTS), turns=chance.randrange(12)
    )


def _strike(chance: random.Random, setup: Setup, at: float | None = None) -> Step:
    common: dict[str, Any] = {
        "at": _time(chance) if at is None else at,
        "agent": chance.choice((None, *range(setup.agents))),
    }
    sort = chance.random()
    if sort < 0.45:
        what: Any = "kill" if chance.random() < 0.02 else chance.choice(_STRIKES)
        return Network(**common, what=what, lasting=chance.uniform(0.05, 3.0), amount=chance.choice((1, 2, 10)))
    if sort < 0.85:
        return Fault(**common, fault=chance.choice(_FAULTS), times=chance.choice((1, 1, 2, None)))
    return Fault(**common, fault=chance.choice(_STANDING), times=None, lasting=chance.uniform(0.05, 2.0))


def _close(chance: random.Random, at: float) -> Step:
    give_up = chance.choice((None, None, None, chance.randrange(8)))
    return Close(at=at, drain=chance.choice((0.0, 0.0, 0.05, 1.0, 5.0)), give_up=give_up)


def _close_after(chance: random.Random, calls: int) -> Step:
    moment: Moment = chance.choice(("granted", "granted", "ended", *_MOMENTS))
    drain = chance.choice((0.0, 0.0, 1.0))
    return CloseAfter(of=chance.randrange(calls), moment=moment, turns=chance.randrange(6), drain=drain)


def _time(chance: random.Random) -> float:
    return round(chance.uniform(0.0, _HORIZON) if chance.random() < 0.5 else chance.uniform(0.0, 0.3), 4)


def _few(chance: random.Random, most: int) -> int:
    return chance.randint(0, max(most, 0))
