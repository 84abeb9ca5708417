"""Every public coroutine, cancelled at every turn of the loop it takes, in every state of a pool, among others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from cancel_steps import cancel_at_every_step
from pool_ledger import PoolLedger
from virtual_time import run
from wires import Peer, Wire

from swarmpool import ConnectionPool, PoolClosed

Pool = ConnectionPool[Wire]
Work = Callable[[Pool], Coroutine[Any, Any, object]]
State = Callable[[Pool, Peer], Coroutine[Any, Any, object]]


async def turns(times: int = 3) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------------------ the victims


async def acquire(pool: Pool) -> None:
    lease = await pool.acquire()
    lease.release()


async def acquire_in_time(pool: Pool) -> None:
    lease = await pool.acquire(timeout=30)
    lease.discard()


async def get_and_put(pool: Pool) -> None:
    """`get` hands a bare connection to a task that may be cancelled before it runs: its own to give back."""
    pool.put(await pool.get())


async def use(pool: Pool) -> None:
    async with pool.connection(timeout=30):
        await turns()


async def use_lease(pool: Pool) -> None:
    async with await pool.acquire():
        await turns()


async def prewarm(pool: Pool) -> None:
    await pool.prewarm(2)


async def close(pool: Pool) -> None:
    await pool.aclose(drain=1.0)


async def close_at_once(pool: Pool) -> None:
    await pool.aclose(drain=None)


async def enter_and_leave(pool: Pool) -> None:
    async with pool:
        await turns()


VICTIMS = [
    acquire,
    acquire_in_time,
    get_and_put,
    use,
    use_lease,
    prewarm,
    close,
    close_at_once,
    enter_and_leave,
]


# ------------------------------------------------------------------------------------------------ the states


async def empty(pool: Pool, peer: Peer) -> None:
    pass


async def idle(pool: Pool, peer: Peer) -> None:
    await pool.prewarm(2)


async def full(pool: Pool, peer: Peer) -> None:
    """Both connections are in use and come back, one well and one broken."""
    one, two = await pool.get(), await pool.get()
    pool.__dict__["helper"] = asyncio.create_task(_give_back(pool, one, two))


async def _give_back(pool: Pool, one: Wire, two: Wire) -> None:
    await turns(4)
    pool.put(one)
    await turns(4)
    pool.remove(two)


async def invalidated(pool: Pool, peer: Peer) -> None:
    """A dial of an earlier generation is on its way, and one connection is closing."""
    await pool.prewarm()
    _ = pool.prewarm(2)
    await turns(1)
    pool.invalidate()


async def refused(pool: Pool, peer: Peer) -> None:
    """The pool backs off."""
    peer.dials.append(OSError("refused"))
    with pytest.raises(OSError, match="refused"):
        await pool.get()


async def closing(pool: Pool, peer: Peer) -> None:
    wire = await pool.get()
    pool.__dict__["helper"] = asyncio.create_task(pool.aclose(drain=1.0))
    await turns(1)
    pool.__dict__["other"] = asyncio.create_task(_give_back(pool, wire, wire))


STATES = [empty, idle, full, invalidated, refused, closing]


# ------------------------------------------------------------------------------------------------ the harness


async def quietly(work: Work, pool: Pool) -> None:
    """A closed pool is a legal answer to whoever meets one."""
    try:
        await work(pool)
    except PoolClosed:
        assert pool.state.name in ("CLOSING", "CLOSED")


@asynccontextmanager
async def scene_of(
    state: State, work: Work, others: int, place: int, **options: Any
) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """A pool in `state`, the victim in line behind `place` of `others`; on leaving, both ends must balance."""
    peer, ledger = Peer(), PoolLedger()
    ledger.prewarmed = 2
    pool = Pool(
        connect_cb=peer.connect,
        close_cb=peer.close,
        max_size=2,
        max_idle=60.0,
        reconnect_delay=1e-9,  # over in the next turn: the steps are turns, in which no time passes
        seed=1,
        on_event=ledger,
        **options,
    )
    ledger.watch(pool)
    await state(pool, peer)
    before = [asyncio.create_task(quietly(work, pool)) for _ in range(place)]
    after: list[asyncio.Task[None]] = []

    async def victim() -> None:
        after.extend(asyncio.create_task(quietly(work, pool)) for _ in range(others - place))
        await quietly(work, pool)

    yield victim()
    helpers = [pool.__dict__[name] for name in ("helper", "other") if name in pool.__dict__]
    for task in [*before, *after, *helpers]:
        await task
    await works_afterwards(pool)
    await pool.aclose()
    ledger.check()
    end = pool.statistics()
    assert (end.opened, end.closed, end.open, end.waiting, end.checking) == (peer.opened, peer.closed, 0, 0, 0)


async def works_afterwards(pool: Pool) -> None:
    """No connection and no slot is lost: as many callers as there may be are served at once."""
    if pool.state.name != "OPEN":
        return
    leases = await asyncio.gather(pool.acquire(timeout=10), pool.acquire(timeout=10))
    for lease in leases:
        lease.release()


@pytest.mark.parametrize("others", [0, 1, 2], ids=["alone", "of two", "of three"])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("victim", VICTIMS, ids=lambda victim: victim.__name__)
def test_nothing_is_lost_and_nobody_else_is_hurt(victim: Work, state: State, others: int) -> None:
    for place in range(others + 1):
        assert run(partial(cancel_at_every_step, partial(scene_of, state, victim, others, place))) >= 1


async def later_yes(wire: Wire) -> bool:
    await turns(2)
    return True


async def later_no(wire: Wire) -> bool:
    await turns(2)
    return False


@pytest.mark.parametrize("check", [later_yes, later_no], ids=["good", "bad"])
@pytest.mark.parametrize("state", [idle, full, closing], ids=lambda state: state.__name__)
@pytest.mark.parametrize("victim", [acquire, get_and_put, use], ids=lambda victim: victim.__name__)
def test_nothing_is_lost_while_a_connection_is_checked(victim: Work, state: State, check: Any) -> None:
    for place in range(3):
        run(partial(cancel_at_every_step, partial(scene_of, state, victim, 2, place, validate_cb=check)))
