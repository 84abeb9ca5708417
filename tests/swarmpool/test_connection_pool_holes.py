"""The holes of the pool that this one takes the place of, each by the scenario that fell through it."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import warnings

import pytest
from pool_ledger import PoolLedger
from virtual_time import run
from wire_pool import pool_of, turns
from wires import Peer, Wire

from swarmpool import ConnectionPool, PoolClosed
from swarmpool.errors import AcquireTimeout, ConnectFailed, ConnectTimeout, LeaseEnded, WrongEventLoop


def seconds() -> float:
    return asyncio.get_running_loop().time()


# ------------------------------------------------------------------------------------------------ LK-1


def test_max_size_bounds_what_is_open_however_many_ask() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=0.01)
        async with pool_of(peer, max_size=8) as pool:

            async def use() -> None:
                async with pool.connection():
                    await asyncio.sleep(0.001)

            await asyncio.gather(*(use() for _ in range(500)))
            assert pool.statistics().peak_open == peer.opened == 8

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-2


def test_ten_dials_take_the_time_of_one() -> None:
    async def scene() -> float:
        peer = Peer(dial_seconds=0.05)
        async with pool_of(peer) as pool:
            start = seconds()
            await asyncio.gather(*(pool.get() for _ in range(10)))
            assert peer.peak_dialing == 10
            return seconds() - start

    assert run(scene) == pytest.approx(0.05)


# ------------------------------------------------------------------------------------------------ LK-3


def test_a_connection_that_comes_back_is_not_kept_waiting_by_a_slow_dial() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            idle = await pool.get()
            peer.dial_seconds = 0.3
            dialing = asyncio.create_task(pool.get())
            await turns()
            pool.put(idle)
            assert await dialing is idle
            assert await pool.get(timeout=5) is not idle

    run(scene)


def test_the_timeout_covers_the_waiting() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=0.3)
        async with pool_of(peer, max_size=1) as pool:
            first = asyncio.create_task(pool.get())
            await turns()
            start = seconds()
            with pytest.raises(AcquireTimeout, match=r"timeout=0.05 s; 1 of 1 open \(0 leased, 0 idle, 1 dialing"):
                await pool.get(timeout=0.05)
            assert seconds() - start == pytest.approx(0.05)
            await first

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-4


def test_a_close_that_hangs_delays_nobody_and_is_bounded() -> None:
    async def scene() -> None:
        peer = Peer()
        peer.closes.append(3600.0)
        async with pool_of(peer, close_timeout=2.0) as pool:
            start = seconds()
            pool.remove(await pool.get())
            assert await pool.get(timeout=0.05) is peer.wires[1]
            assert seconds() == start
            await asyncio.sleep(1.9)
            assert pool.statistics().closing == 1
            await asyncio.sleep(0.2)
            now = pool.statistics()
            assert (now.closing, now.closed, now.close_failed) == (0, 1, 1)

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-5


def test_a_caller_cancelled_while_another_connection_closes_loses_none() -> None:
    async def scene() -> None:
        peer = Peer(close_seconds=0.1)
        async with pool_of(peer) as pool:
            pool.remove(await pool.get())
            caller = asyncio.create_task(pool.get())
            await turns(2)
            caller.cancel()
            await asyncio.wait([caller])
            assert caller.cancelled()
        assert peer.open == 0

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-6, LK-7


def test_invalidate_spares_a_connection_in_use_and_closes_it_on_return() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            used, idle = await pool.get(), await pool.get()
            pool.put(idle)
            pool.invalidate()
            other = await pool.get()
            await turns()
            assert (used.closed, idle.closed) == (False, True)
            pool.put(used)
            await turns()
            assert used.closed
            pool.put(other)
            assert await pool.get() is other

    run(scene)


def test_a_handshake_in_flight_does_not_survive_invalidate() -> None:
    """Its settings are those of before, even if it cannot be cancelled any more."""

    async def scene() -> None:
        settings = ["old"]

        class Server(Peer):
            async def connect(self, timeout: float) -> Wire:
                wanted = settings[0]
                wire = await super().connect(timeout)
                wire.__dict__["settings"] = wanted
                return wire

        for moment in range(8):
            settings[0] = "old"
            peer = Server()
            async with pool_of(peer) as pool:
                getting = asyncio.create_task(pool.get())
                await turns(moment)
                began = getting.done()
                settings[0] = "new"
                pool.invalidate()
                wire = await getting
                assert wire.__dict__["settings"] == ("old" if began else "new")
                pool.put(wire)
                assert (await pool.get()).__dict__["settings"] == "new"

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-8, LK-9, LK-10


def test_aclose_gives_those_in_use_their_time() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            wire = await pool.get()
            closing = asyncio.create_task(pool.aclose(drain=10))
            await asyncio.sleep(9)
            assert not wire.closed
            assert not closing.done()
            pool.put(wire)
            await closing
            assert wire.closed

    run(scene)


def test_aclose_ends_what_does_not_come_back() -> None:
    async def scene() -> float:
        peer = Peer()
        async with pool_of(peer) as pool:
            wire = await pool.get()
            start = seconds()
            await pool.aclose(drain=10)
            assert wire.closed
            pool.put(wire)
            pool.remove(wire)
            return seconds() - start

    assert run(scene) == pytest.approx(10)


def test_a_closed_pool_stays_closed() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            await pool.get()
        for call in (pool.get, pool.acquire, pool.connection().__aenter__):
            with pytest.raises(PoolClosed, match="is closed; nothing reopens a pool"):
                await call()
        with pytest.raises(PoolClosed):
            _ = pool.prewarm()
        assert peer.opened == 1

    run(scene)


def test_those_who_wait_when_the_pool_closes_are_told_at_once_and_open_nothing() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=5)
        async with pool_of(peer) as pool:
            callers = [asyncio.create_task(pool.get()) for _ in range(2)]
            await turns()
            start = seconds()
            await pool.aclose()
            assert seconds() == start
            for caller in callers:
                with pytest.raises(PoolClosed, match="closed while this caller waited"):
                    await caller
        assert (peer.opened, peer.dialing) == (0, 0)

    run(scene)


def test_aclose_waits_for_a_close_under_way() -> None:
    async def scene() -> None:
        peer = Peer(close_seconds=1.0)
        async with pool_of(peer) as pool:
            pool.remove(await pool.get())
            await turns()
            await asyncio.gather(pool.aclose(), pool.aclose(drain=0), pool.aclose(drain=None))
            assert peer.closed == 1

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-11


def test_prewarm_works_again_after_a_failure_opens_exactly_what_is_missing_and_can_be_awaited() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=0.1)
        peer.dials.append(OSError("refused"))
        async with pool_of(peer, prewarmed=5) as pool:
            with pytest.raises(ConnectFailed, match="prewarm could not connect: OSError") as failure:
                await pool.prewarm()
            assert isinstance(failure.value.__cause__, OSError)
            await pool.prewarm(3)
            assert (pool.statistics().idle, peer.opened) == (3, 3)
            await pool.prewarm(3)
            _ = pool.prewarm(5)
            await pool.prewarm(5)
            assert (pool.statistics().idle, peer.opened) == (5, 5)

    run(scene)


def test_prewarm_and_a_caller_share_one_dial_whoever_comes_first() -> None:
    async def scene() -> None:
        for caller_first in (True, False):
            peer = Peer(dial_seconds=0.1)
            async with pool_of(peer, prewarmed=1) as pool:
                if caller_first:
                    getting = asyncio.create_task(pool.get())
                    await turns()
                    handle = pool.prewarm()
                else:
                    handle = pool.prewarm()
                    getting = asyncio.create_task(pool.get())
                await asyncio.gather(getting, handle)
                assert peer.dialed == 1

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-12


def test_a_connection_that_died_while_idle_is_never_handed_out() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, validate_cb=lambda wire: wire.__dict__.get("alive", True)) as pool:
            wires = [await pool.get() for _ in range(3)]
            for wire in wires:
                pool.put(wire)
            wires[2].__dict__["alive"] = wires[1].__dict__["alive"] = False
            assert await pool.get() is wires[0]
            assert pool.statistics().invalid == 2

    run(scene)


def test_a_connection_said_to_be_lost_goes_at_once_if_idle_and_on_return_if_in_use() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            used, idle = await pool.get(), await pool.get()
            pool.put(idle)
            pool.lost(idle)
            pool.lost(used)
            await turns()
            assert (idle.closed, used.closed) == (True, False)
            pool.put(used)
            await turns()
            assert used.closed
            assert pool.statistics().lost == 2

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-13, LK-14, LK-15


def test_max_age_ends_a_connection_that_is_refreshed_for_ever() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(
            peer, max_session_duration=1.0, mark_refreshed_on_get=True, max_age=10.0, jitter=0.0
        ) as pool:
            for _ in range(25):
                async with pool.connection():
                    await asyncio.sleep(0.5)
            assert peer.opened == 2

    run(scene)


def test_what_has_expired_is_closed_on_time_without_any_traffic() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_session_duration=60.0, jitter=0.0) as pool:
            pool.put(await pool.get())
            await asyncio.sleep(59.9)
            assert peer.closed == 0
            await asyncio.sleep(0.2)
            assert peer.closed == 1
            assert pool.statistics().expired == 1
            pool.remove(await pool.get())
            await turns()
            assert peer.closed == 2

    run(scene)


def test_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_session_duration=60.0) as pool:
            wire = await pool.get()
            for hour in (-3600, 3600):
                pool.put(wire)
                monkeypatch.setattr(time, "time", lambda hour=hour: 1e9 + hour)
                assert await pool.get() is wire
            pool.put(wire)
            await asyncio.sleep(61)
            assert wire.closed

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-16, LK-17, LK-18


def test_a_lease_ends_once_and_never_makes_a_second_owner() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            first = await pool.acquire()
            first.release()
            second = await pool.acquire()
            assert second.connection is first.connection
            for end in (first.release, first.discard):
                with pytest.raises(LeaseEnded, match="the lease of connection 1 has ended"):
                    end()
            third = await pool.acquire()
            assert third.connection is not second.connection

    run(scene)


def test_a_connection_put_twice_has_one_owner() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            wire = await pool.get()
            pool.put(wire)
            pool.put(wire)
            assert await pool.get() is wire
            assert await pool.get() is not wire
            assert pool.statistics().ignored == 1

    run(scene)


def test_the_most_recently_used_goes_first_so_that_the_pool_can_shrink() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer, max_idle=10.0) as pool:
            wires = [await pool.get() for _ in range(8)]
            for wire in wires:
                pool.put(wire)
            for _ in range(20):
                async with pool.connection() as wire:
                    assert wire is wires[-1]
                    await asyncio.sleep(1)
            assert [wire.closed for wire in wires] == [True] * 7 + [False]

    run(scene)


def test_each_lease_knows_whether_it_was_reused_whatever_others_do() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=0.2)
        async with pool_of(peer) as pool:
            (await pool.acquire()).release()
            old, new = await asyncio.gather(pool.acquire(), pool.acquire())
            assert (old.reused, old.wait_seconds) == (True, 0.0)
            assert new.wait_seconds == pytest.approx(0.2)
            assert not new.reused

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-19, LK-20, LK-21


def test_connections_are_told_by_identity_though_equal_and_not_hashable() -> None:
    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            one, two = await pool.get(), await pool.get()
            with pytest.raises(TypeError):
                hash(one)
            assert one == two
            assert one is not two
            pool.put(two)
            assert await pool.get() is two

    run(scene)


@pytest.mark.parametrize("error", [OSError("broken pipe"), asyncio.CancelledError(), GeneratorExit()], ids=repr)
def test_what_a_close_raises_reaches_nobody(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        peer = Peer()
        peer.closes.append(error)
        async with pool_of(peer) as pool:
            waiter = asyncio.create_task(pool.get())
            pool.remove(await pool.get())
            await waiter
            await turns()
            await pool.get()
            now = pool.statistics()
            assert (now.closed, now.close_failed) == (1, 1)

    with caplog.at_level(logging.WARNING, "swarmpool"):
        run(scene)
    assert [type(error).__name__ in record.getMessage() for record in caplog.records] == [True]
    assert "broken pipe" not in caplog.text, "an error's text may hold a URL or a header"


def test_a_dial_that_ignores_its_timeout_is_ended_by_the_pool_and_others_pass_it() -> None:
    async def scene() -> None:
        peer = Peer()
        peer.dials.append(3600.0)
        async with pool_of(peer, connect_timeout=2.0, reconnect_delay=None) as pool:
            start = seconds()
            first = asyncio.create_task(pool.get())
            await turns()
            second = asyncio.create_task(pool.get())
            assert await first is peer.wires[0], "a dial belongs to nobody: the first to end serves the first in line"
            with pytest.raises(ConnectTimeout, match=r"no connection within connect_timeout=2.0 s"):
                await second
            assert seconds() - start == pytest.approx(2)
            assert peer.dialing == 0

    run(scene)


# ------------------------------------------------------------------------------------------------ LK-22, LK-23


def test_whose_fault_an_exception_is_can_be_said_on_a_lease() -> None:
    """`connection` discards on any exception; with a lease the caller decides."""

    async def scene() -> None:
        peer = Peer()
        async with pool_of(peer) as pool:
            lease = await pool.acquire()
            try:
                raise ValueError("of the caller's own, after a clean reply")
            except ValueError:
                lease.release()
            async with await pool.acquire() as again:
                assert again.connection is lease.connection
                again.discard()  # a protocol error that was handled: nobody must get this one
            async with pool.connection() as wire:
                assert wire is not lease.connection

    run(scene)


def test_what_was_opened_together_does_not_expire_together() -> None:
    async def scene() -> None:
        peer = Peer()
        ledger = PoolLedger()
        ledger.prewarmed = 20
        pool = ConnectionPool[Wire](
            connect_cb=peer.connect, close_cb=peer.close, max_age=100, jitter=0.2, seed=7, on_event=ledger
        )
        ledger.watch(pool)
        await pool.prewarm(20)
        start = seconds()
        await asyncio.sleep(101)
        ends = [event.at - start for event in ledger.events if event.kind == "closing"]
        assert len(set(ends)) == 20
        assert 80 <= min(ends) < 85
        assert 95 < max(ends) <= 100
        await pool.aclose()
        ledger.check()

    run(scene)


def test_a_dead_server_is_dialled_by_one_for_all_and_ever_more_seldom() -> None:
    async def scene() -> None:
        peer = Peer()
        peer.dials.extend([OSError("refused")] * 5)
        async with pool_of(peer, reconnect_delay=1.0, seed=1) as pool:
            with pytest.raises(OSError, match="refused"):
                await pool.get()
            for failures in range(1, 5):
                callers = [asyncio.create_task(pool.get()) for _ in range(50)]
                start = seconds()
                ends = await asyncio.gather(*callers, return_exceptions=True)
                assert 0.5 * 2 ** (failures - 1) <= seconds() - start <= 2 ** (failures - 1)
                assert peer.dialed == failures + 1
                assert isinstance(ends[0], OSError)
                assert all(isinstance(end, ConnectFailed) and isinstance(end.__cause__, OSError) for end in ends[1:])
            assert isinstance(await pool.get(), Wire)
            start = seconds()
            await asyncio.gather(*(pool.get() for _ in range(50)))
            assert seconds() == start, "a success ends the backoff"

    run(scene)


def test_the_repr_shows_what_goes_on_and_carries_the_name() -> None:
    async def scene() -> None:
        peer = Peer(dial_seconds=1)
        async with pool_of(peer, name="voices", max_size=2) as pool:
            wire = await pool.get()
            waiting = asyncio.create_task(pool.get())
            await turns()
            expected = "<voices OPEN: 2 of 2 open (1 leased, 0 idle, 1 dialing, 0 closing), 1 waiting>"
            assert repr(pool) == expected
            pool.put(wire)
            await waiting

    run(scene)


def test_another_event_loop_is_an_error_that_says_so() -> None:
    async def leave_open() -> ConnectionPool[object]:
        pool = ConnectionPool[object](connect_cb=_make_object, name="voices")
        pool.put(await pool.get())
        return pool

    async def misuse(pool: ConnectionPool[object]) -> None:
        with pytest.raises(WrongEventLoop, match="voices belongs to another event loop"):
            await pool.get()
        with pytest.raises(WrongEventLoop):
            await pool.aclose()

    with asyncio.Runner() as runner:
        pool = runner.run(leave_open())

        with asyncio.Runner() as other:
            other.run(misuse(pool))
        with pytest.raises(WrongEventLoop, match="from inside its event loop"):
            pool.put(object())
        runner.run(pool.aclose())


async def _make_object() -> object:
    return object()


def test_a_pool_dropped_open_says_so_once_and_closes_what_it_had() -> None:
    async def scene() -> None:
        peer = Peer()
        pool = ConnectionPool[Wire](connect_cb=peer.connect, close_cb=peer.close, name="voices", max_idle=60)
        pool.put(await pool.get())
        texts: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("always", ResourceWarning)
            warnings.showwarning = lambda message, *_, **__: texts.append(str(message))
            gc.disable()
            del pool  # the last reference is enough
            gc.enable()
            assert len(texts) == 1
            gc.collect()
        assert len(texts) == 1
        assert texts[0].startswith("Unclosed pool <voices OPEN: 1 open")
        await turns()
        assert peer.open == 0

    run(scene)
