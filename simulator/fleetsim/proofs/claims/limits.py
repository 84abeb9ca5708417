"""Limits are limits: on sockets, on requests in flight, on requests in flight at one agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fleetsim.proofs.claim import Claim, Stage, check_all_ok, counted, endpoints_of, figure, settled
from fleetsim.proofs.client import Endpoint
from fleetsim.proofs.peers import silent_peer

__all__ = ["AGENT_CAP", "CONCURRENCY", "SOCKET_LIMIT"]

AGENTS = 64
SOCKETS = 16
WAVES = 3
NAME = "three-addresses.test"
NAME_SOCKETS = 2
NAME_CONNECT_TIMEOUT = 1.0  # seconds; longer than any client waits before it races a second address

IN_FLIGHT = 8
PER_AGENT = 3


async def socket_limit(stage: Stage) -> None:
    """Many more agents than sockets, then a name that tempts a client to open two sockets for one request."""
    await _many_agents(stage)
    await _one_name(stage)


async def _many_agents(stage: Stage) -> None:
    async with stage.fleet(AGENTS) as fleet, stage.pool(endpoints_of(fleet), connector_limit=SOCKETS) as pool:
        ledger, evidence, witness = fleet.ledger, stage.evidence, stage.witness
        outcomes, quiet = [], 0
        for wave in range(WAVES):
            order = stage.rng.sample(range(AGENTS), AGENTS)
            with fleet.hold():
                tasks = [stage.start(pool.request(agent, f"wave {wave}")) for agent in order]
                await stage.until(lambda: ledger.in_flight >= SOCKETS)
                await settled(lambda: ledger.opened)
                quiet = max(quiet, ledger.open_now)
            outcomes += await stage.finish(tasks)
            await settled(lambda: (ledger.opened, ledger.closed))
            quiet = max(quiet, ledger.open_now)
        counts = pool.counts()
        evidence.client = figure(peak_open=counts.peak_open, sockets_seen=witness.peak_open)
        evidence.fleet = figure(open_when_quiet=quiet)
        check_all_ok(evidence, outcomes)
        evidence.check(quiet <= SOCKETS, f"limit {SOCKETS}: the fleet saw {quiet} connections open at rest")
        evidence.check(witness.peak_open <= SOCKETS, f"limit {SOCKETS}: the loop had {witness.peak_open} sockets open")
        peak = counts.peak_open or 0
        evidence.check(peak <= SOCKETS, f"limit {SOCKETS}: the client itself counts {peak} sockets")


async def _one_name(stage: Stage) -> None:
    options = {"connector_limit": NAME_SOCKETS, "connect_timeout": NAME_CONNECT_TIMEOUT}
    async with _name_of_three(stage) as endpoint, stage.pool([endpoint], **options) as pool:
        witness = stage.witness
        witness.forget_peak()
        before = witness.attempts
        await stage.finish([stage.start(pool.request(0, f"by name {n}")) for n in range(2 * NAME_SOCKETS)])
        peak = witness.peak_open
        stage.evidence.client += f"; by name: {counted(peak, 'socket')}"
        stage.evidence.check(witness.attempts > before, f"the name {NAME} was never dialled")
        stage.evidence.check(
            peak <= NAME_SOCKETS, f"limit {NAME_SOCKETS}: {counted(peak, 'socket')} at once for a name of 3 addresses"
        )


@asynccontextmanager
async def _name_of_three(stage: Stage) -> AsyncIterator[Endpoint]:
    """A name whose first address leaves the SYN unanswered and whose other two answer, all on one port."""
    addresses = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    async with AsyncExitStack() as stack:
        port = stack.enter_context(silent_peer(addresses[0])).port
        for address in addresses[1:]:
            await stack.enter_async_context(stage.fleet(1, host=address, base_port=port))
        stage.loop.names[NAME] = addresses
        yield Endpoint(NAME, port)


async def concurrency(stage: Stage) -> None:
    """Every agent first gets idle connections: a client that counts only new ones lets too many through."""
    async with stage.fleet(4) as fleet, stage.pool(endpoints_of(fleet), concurrency=IN_FLIGHT) as pool:
        ledger, evidence = fleet.ledger, stage.evidence
        for agent in range(len(fleet)):
            with fleet.hold():
                warm = [stage.start(pool.request(agent, f"warm {n}")) for n in range(IN_FLIGHT)]
                reached = await stage.until(lambda: ledger.in_flight >= IN_FLIGHT)
            check_all_ok(evidence, await stage.finish(warm))
            evidence.check(reached, f"{IN_FLIGHT} requests at once were never in flight on agent {agent}")
        with fleet.hold():
            load = [stage.start(pool.request(n % len(fleet), f"load {n}")) for n in range(8 * IN_FLIGHT)]
            await stage.until(lambda: ledger.in_flight >= IN_FLIGHT)
            await settled(lambda: ledger.in_flight)
            held = ledger.in_flight
        check_all_ok(evidence, await stage.finish(load))
        counts, peak = pool.counts(), ledger.peak_in_flight
        evidence.client = figure(peak_in_flight=counts.peak_in_flight)
        evidence.fleet = figure(in_flight_held=held, peak_in_flight=peak)
        evidence.check(held >= IN_FLIGHT, f"under load only {held} of {IN_FLIGHT} were in flight")
        evidence.check(
            max(held, peak) <= IN_FLIGHT, f"concurrency {IN_FLIGHT}: {max(held, peak)} requests were in flight at once"
        )
        own = counts.peak_in_flight or 0
        evidence.check(own <= IN_FLIGHT, f"concurrency {IN_FLIGHT}: the client itself counts {own} in flight")


async def agent_cap(stage: Stage) -> None:
    """One agent is flooded first: it must stop at the cap, and nobody may wait behind its queue."""
    async with stage.fleet(4) as fleet, stage.pool(endpoints_of(fleet), concurrency_per_agent=PER_AGENT) as pool:
        evidence, everybody = stage.evidence, PER_AGENT * len(fleet)
        with fleet.hold():
            tasks = [stage.start(pool.request(0, f"flood {n}")) for n in range(8 * PER_AGENT)]
            tasks += [stage.start(pool.request(1 + n % 3, f"others {n}")) for n in range(12 * PER_AGENT)]
            await stage.until(lambda: fleet.ledger.in_flight >= everybody)
            await settled(lambda: fleet.ledger.in_flight)
            held = [fleet[agent].ledger.in_flight for agent in range(len(fleet))]
        check_all_ok(evidence, await stage.finish(tasks))
        peaks = [fleet[agent].ledger.peak_in_flight for agent in range(len(fleet))]
        evidence.client = figure(peak_in_flight=pool.counts().peak_in_flight)
        evidence.fleet = f"held per agent {held}, peaks {peaks}"
        evidence.check(max(peaks) <= PER_AGENT, f"cap {PER_AGENT} per agent: {max(peaks)} were in flight at one")
        evidence.check(min(held) >= PER_AGENT, f"cap {PER_AGENT} per agent: under load one agent had only {min(held)}")


SOCKET_LIMIT = Claim(
    "socket-limit",
    f"A pool over {AGENTS} agents never holds more sockets than its limit, even idle, even for a name of 3 addresses.",
    socket_limit,
)
CONCURRENCY = Claim(
    "concurrency", "Never more requests in flight than `concurrency`, and exactly that many under load.", concurrency
)
AGENT_CAP = Claim("agent-cap", "The cap per agent holds, and nobody waits behind a full agent's queue.", agent_cap)
