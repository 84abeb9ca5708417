"""After its close a pool holds nothing, says nothing, and does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from fleetsim.fleet import Fleet
from fleetsim.proofs.claim import Claim, Stage, check_all_ok, counted, endpoints_of, figure, joined, settled
from fleetsim.proofs.client import Client, Endpoint, Options, Outcome, Pool
from fleetsim.proofs.complaints import Complaints
from fleetsim.proofs.peers import deaf_peer
from fleetsim.proofs.witness import WatchedLoop

__all__ = ["CLEAN_CLOSE", "REFUSAL"]

AGENTS = 6
SLOTS = 8
LARGE = 30_000_000  # characters, more than all socket buffers on the way will hold


async def clean_close(stage: Stage) -> None:
    """The root is closed with connections idle, requests held, queued and half sent, and streams left or cut."""
    evidence, witness = stage.evidence, stage.witness
    async with stage.fleet(AGENTS) as fleet:
        with deaf_peer() as deaf:
            await _close_in_full_swing(stage, fleet, deaf)
            sockets = witness.open_now
            await stage.dismiss()
        quiet = await stage.until(lambda: fleet.ledger.open_now == 0)
        evidence.check(sockets == 0, f"{counted(sockets, 'socket')} still open when close had returned")
        evidence.check(quiet, f"the fleet still has {counted(fleet.ledger.open_now, 'connection')} open")
        evidence.fleet = figure(opened=fleet.ledger.opened, open=fleet.ledger.open_now)
    complaints = stage.complaints.collect()
    warned = counted(len(complaints), "warning")
    evidence.client = joined(evidence.client, counted(sockets, "socket"), warned)
    evidence.check(not complaints, f"{warned}: {brief(complaints)}")


async def _close_in_full_swing(stage: Stage, fleet: Fleet, deaf: Endpoint) -> None:
    pool = stage.client.build([*endpoints_of(fleet), deaf], Options(concurrency=SLOTS))
    await pool.open()
    check_all_ok(stage.evidence, [await pool.request(agent, "idle afterwards") for agent in range(AGENTS)])
    await pool.stream(0, "left early", leave_after=1)
    with fleet.hold():
        sent = stage.witness.attempts
        stage.launch(pool.request(AGENTS, "x" * LARGE))
        await stage.until(lambda: stage.witness.attempts > sent)
        stage.launch(*[pool.request(n % 3, f"held or queued {n}") for n in range(2 * SLOTS)])
        await stage.until(lambda: fleet.ledger.in_flight >= SLOTS - 1)
        await settled(lambda: fleet.ledger.in_flight)
        await _close_twice_at_once(stage, pool)
    stage.evidence.client = figure(open=pool.counts().open)


async def _close_twice_at_once(stage: Stage, pool: Pool) -> None:
    closing = [asyncio.create_task(pool.close()) for _ in range(2)]
    patience = stage.patience
    stage.evidence.check(await stage.ended(closing), f"close had not returned after {patience:g} s")
    unfinished = [task for task in closing if task.cancel()]
    await asyncio.gather(*unfinished, return_exceptions=True)
    await asyncio.gather(*[task for task in closing if task not in unfinished])


async def refusal(stage: Stage) -> None:
    """A closed pool and a view of it are called in every way; then pools are dropped open, in and after their loop."""
    async with stage.fleet(2) as fleet:
        refused, asked = await _ask_closed(stage, fleet)
        here = await _dropped_in_its_loop(stage, fleet)
        quiet = await stage.until(lambda: fleet.ledger.open_now == 0)
        later = await asyncio.to_thread(_dropped_after_its_loop, stage.client, endpoints_of(fleet), stage.complaints)
        evidence = stage.evidence
        evidence.client = (
            f"{refused} of {asked} calls refused; "
            f"dropped: {counted(len(here), 'warning')}, after its loop: {counted(len(later), 'warning')}"
        )
        evidence.fleet = figure(opened=fleet.ledger.opened, open=fleet.ledger.open_now)
        evidence.check(refused == asked, f"{asked - refused} of {asked} calls on a closed pool were not refused")
        evidence.check(quiet, f"the dropped pool left {counted(fleet.ledger.open_now, 'connection')} open")
        for when, said in (("in its running loop", here), ("after its loop was closed", later)):
            evidence.check(
                len(said) == 1,
                f"a pool dropped open {when} warned {counted(len(said), 'time')}, not once: {brief(said)}",
            )


def brief(complaints: Sequence[str]) -> str:
    """The first words of each complaint."""
    return "; ".join(text.splitlines()[0][:50] for text in complaints)


async def _ask_closed(stage: Stage, fleet: Fleet) -> tuple[int, int]:
    """How many of how many calls raised. None may reach the fleet."""
    pool = stage.client.build(endpoints_of(fleet), Options())
    views = [pool.view("select", [1])] if "views" in stage.client.features else []
    await pool.open()
    check_all_ok(stage.evidence, [await pool.request(0, "while open")])
    await pool.close()
    await pool.close()
    requests, opened = fleet.ledger.requests, fleet.ledger.opened
    calls = [call for view in (pool, *views) for call in _calls(view)]
    refused = [await _raises(stage, call) for call in calls]
    await settled(lambda: fleet.ledger.opened)
    more = (fleet.ledger.requests - requests, fleet.ledger.opened - opened)
    stage.evidence.check(
        more == (0, 0),
        f"after the close {counted(more[0], 'request')} and {counted(more[1], 'connection')} reached the fleet",
    )
    return sum(refused), len(refused)


def _calls(pool: Pool) -> list[Callable[[], Awaitable[Outcome]]]:
    return [lambda: pool.request(0, "closed"), lambda: pool.stream(0, "closed")]


async def _raises(stage: Stage, call: Callable[[], Awaitable[Outcome]]) -> bool:
    limit = asyncio.timeout(stage.patience)
    try:
        async with limit:
            await call()
    except TimeoutError:
        if limit.expired():
            stage.lose_patience()
        return False
    except Exception:  # noqa: BLE001  # which error a client refuses with is its own affair
        return True
    return False


async def _dropped_in_its_loop(stage: Stage, fleet: Fleet) -> list[str]:
    before = len(stage.complaints.collect())
    await _use_and_drop(stage.client, endpoints_of(fleet))
    stage.complaints.collect()
    await settled(lambda: len(stage.complaints.texts))
    return stage.complaints.collect()[before:]


async def _use_and_drop(client: Client, endpoints: Sequence[Endpoint]) -> None:
    await _used(client, endpoints)


async def _used(client: Client, endpoints: Sequence[Endpoint]) -> Pool:
    pool = client.build(endpoints, Options())
    await pool.open()
    await pool.request(0, "and then dropped")
    return pool


def _dropped_after_its_loop(client: Client, endpoints: Sequence[Endpoint], complaints: Complaints) -> list[str]:
    before = len(complaints.collect())
    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        pool = runner.run(_used(client, endpoints))
    del pool
    return complaints.collect()[before:]


CLEAN_CLOSE = Claim(
    "clean-close", "After the root's close no socket is open at either end, and nothing has warned.", clean_close
)
REFUSAL = Claim("refusal", "A closed pool refuses every call; a pool dropped open warns exactly once.", refusal)
