"""A request may be given up at any moment; nobody else may notice, and nothing of it may stay behind."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fleetsim.fleet import Fleet
from fleetsim.profile import Profile
from fleetsim.proofs.claim import (
    Claim,
    Stage,
    check_all_ok,
    check_slots,
    counted,
    endpoints_of,
    figure,
    joined,
    settled,
    totals,
)
from fleetsim.proofs.client import Outcome, Pool
from fleetsim.proofs.peers import deaf_peer, silent_peer

__all__ = ["CANCEL_PHASES", "PHASES"]

SLOTS = 3
COMPANION, SUBJECT, SLOW, DEAF, SILENT = range(5)
SLOW_TOKENS = Profile(itl=3600.0)
LARGE = 30_000_000  # characters, more than all socket buffers on the way will hold


@dataclass(slots=True)
class Scene:
    """A server that holds other people's requests, the victim's server, and where the counts stood before."""

    stage: Stage
    pool: Pool
    companions: Fleet
    subjects: Fleet
    slow: Fleet
    attempts: int = 0
    requests: int = 0

    def dialled(self) -> bool:
        """The victim has begun to connect."""
        return self.stage.witness.attempts > self.attempts

    def received(self) -> int:
        """Requests at the servers that a victim may be sent to."""
        return self.subjects.ledger.requests + self.slow.ledger.requests

    def arrived(self) -> bool:
        """The victim's request is at its server."""
        return self.received() > self.requests

    def unmoved(self) -> bool:
        """The victim has caused nothing that could be seen."""
        return not self.dialled() and not self.arrived()


@dataclass(frozen=True, slots=True)
class Phase:
    """How a victim is brought to where it is cancelled, and how one knows that it is there."""

    name: str
    work: Callable[[Pool], Coroutine[Any, Any, Outcome]]
    reached: Callable[[Scene], bool]
    companions: int = 1
    ending: str = "eager"
    held: bool = False


PHASES = (
    Phase("queued", lambda pool: pool.request(SUBJECT, "queued"), Scene.unmoved, companions=SLOTS),
    Phase("connecting", lambda pool: pool.request(SILENT, "connecting"), Scene.dialled),
    Phase("sending", lambda pool: pool.request(DEAF, "x" * LARGE), Scene.dialled),
    Phase("awaiting the head", lambda pool: pool.request(SUBJECT, "head"), Scene.arrived, held=True),
    Phase("reading", lambda pool: pool.request(SUBJECT, "reading"), Scene.arrived, ending="never"),
    Phase("streaming", lambda pool: pool.stream(SLOW, "streaming"), Scene.arrived),
)


async def cancel_phases(stage: Stage) -> None:
    """A victim is cancelled in each phase while a companion's request is in flight."""
    async with stage.fleet(1) as companions, stage.fleet(1) as subjects, stage.fleet(1, profile=SLOW_TOKENS) as slow:
        with deaf_peer() as deaf, silent_peer() as silent:
            endpoints = [*endpoints_of(companions), *endpoints_of(subjects), *endpoints_of(slow), deaf, silent]
            async with stage.pool(endpoints, concurrency=SLOTS) as pool:
                scene = Scene(stage, pool, companions, subjects, slow)
                for phase in PHASES:
                    await _play(scene, phase)
                own = figure(in_flight=pool.counts().in_flight, waiting=pool.counts().waiting)
        stage.evidence.client = joined(own, f"{counted(stage.witness.open_now, 'socket')} left")
        stage.evidence.fleet = totals(companions.ledger, subjects.ledger, slow.ledger)


async def _play(scene: Scene, phase: Phase) -> None:
    stage, pool = scene.stage, scene.pool
    scene.subjects[0].ending = phase.ending
    with ExitStack() as held:
        held.enter_context(scene.companions.hold())
        if phase.held:
            held.enter_context(scene.subjects.hold())
        others = [stage.start(pool.request(COMPANION, f"companion {n}")) for n in range(phase.companions)]
        await stage.until(lambda: scene.companions.ledger.in_flight >= phase.companions)
        await _cancel_victim(scene, phase)
    check_all_ok(stage.evidence, await stage.finish(others), f"{phase.name}: a companion")
    await check_slots(stage, scene.companions, pool, SLOTS, after=f"cancelled while {phase.name}")


async def _cancel_victim(scene: Scene, phase: Phase) -> None:
    stage, witness = scene.stage, scene.stage.witness
    evidence = stage.evidence
    scene.attempts, scene.requests = witness.attempts, scene.received()
    victim = stage.start(phase.work(scene.pool))
    reached = await stage.until(lambda: phase.reached(scene))
    await settled(lambda: (witness.attempts, scene.received()))
    evidence.check(
        reached and phase.reached(scene) and not victim.done(), f"{phase.name}: the victim did not stay there"
    )
    victim.cancel()
    await stage.ended([victim])
    evidence.check(victim.cancelled(), f"{phase.name}: the cancellation was not delivered")
    gone = await stage.until(lambda: witness.open_since(scene.attempts) == 0)
    evidence.check(gone, f"{phase.name}: {counted(witness.open_since(scene.attempts), 'descriptor')} stayed open")


CANCEL_PHASES = Claim(
    "cancel-phases",
    f"Cancelling a request in any of {len(PHASES)} phases loses no slot, no descriptor and no other request.",
    cancel_phases,
)
