"""A sub-client is a view: it opens nothing of its own, and closing it closes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fleetsim.proofs.claim import Claim, Evidence, Stage, check_all_ok, endpoints_of, figure
from fleetsim.proofs.client import Options, Pool

__all__ = ["SHARED_SESSION", "VIEW_CLOSE"]

VIEWS = frozenset({"views"})
AGENTS = 6


def parity(index: int) -> str:
    """A tag's value."""
    return "odd" if index % 2 else "even"


def _every_kind(pool: Pool) -> list[tuple[str, Pool, list[int] | None]]:
    """Each kind of view, one nested three deep; with the servers it must reach, in order, None for any three."""
    nested = pool.view("by_tag", "parity", "even").view("slice", 1, 3).view("select", [1])
    return [
        ("by_tag", pool.view("by_tag", "parity", "odd"), [1, 3, 5]),
        ("sample", pool.view("sample", 3, 7), None),
        ("select", pool.view("select", [4, 1]), [4, 1]),
        ("slice", pool.view("slice", 1, 4), [1, 2, 3]),
        ("nested", nested, [4]),
    ]


async def _reached(fleet: Any, view: Pool, size: int, evidence: Evidence) -> list[int]:
    """The servers that the view's endpoints 0, 1, ... turn out to be."""
    servers: list[int] = []
    for index in range(size):
        before = [server.ledger.requests for server in fleet]
        check_all_ok(evidence, [await view.request(index, "through a view")])
        servers += [n for n, server in enumerate(fleet) if server.ledger.requests > before[n]]
    return servers


async def shared_session(stage: Stage) -> None:
    """Views made before and after entry, entered themselves, all over connections the root has warmed."""
    async with stage.fleet(AGENTS) as fleet:
        pool = stage.client.build(endpoints_of(fleet, parity=parity), Options())
        early = _every_kind(pool)
        await pool.open()
        try:
            evidence, ledger = stage.evidence, fleet.ledger
            check_all_ok(evidence, [await pool.request(agent, "through the root") for agent in range(AGENTS)])
            for when, views in (("before", early), ("after", _every_kind(pool))):
                for kind, view, servers in views:
                    await view.open()
                    reached = await _reached(fleet, view, len(servers or "any"), evidence)
                    _check_reached(evidence, f"{kind} made {when} entry", reached, servers)
            evidence.client = figure(opened=pool.counts().opened, reused=pool.counts().reused)
            evidence.fleet = figure(opened=ledger.opened, reused=ledger.reused)
            more = ledger.opened - AGENTS
            evidence.check(more == 0, f"views opened {more} connections of their own beside the root's {AGENTS}")
            tried = stage.witness.attempts
            evidence.check(tried == AGENTS, f"the loop saw {tried} attempts to connect, not {AGENTS}")
        finally:
            await pool.close()


def _check_reached(evidence: Evidence, name: str, reached: Sequence[int], servers: Sequence[int] | None) -> None:
    if servers is None:
        evidence.check(len(set(reached)) == 3, f"{name}: 3 different servers expected, reached {list(reached)}")
    else:
        evidence.check(reached == servers, f"{name}: servers {list(servers)} expected, reached {list(reached)}")


async def view_close(stage: Stage) -> None:
    """Views are closed while requests through them and through the root are held by the servers."""
    async with stage.fleet(4) as fleet, stage.pool(endpoints_of(fleet)) as pool:
        evidence, ledger = stage.evidence, fleet.ledger
        outer = pool.view("slice", 0, 3)
        inner = outer.view("select", [1])
        with fleet.hold():
            tasks = [stage.start(pool.request(agent, "root's")) for agent in range(4)]
            tasks += [stage.start(outer.request(0, "outer's")), stage.start(inner.request(0, "inner's"))]
            reached = await stage.until(lambda: ledger.in_flight >= len(tasks))
            evidence.check(reached, f"only {ledger.in_flight} of {len(tasks)} requests reached the fleet")
            await inner.open()
            await inner.close()
            await outer.close()
        check_all_ok(evidence, await stage.finish(tasks))
        opened = ledger.opened
        check_all_ok(evidence, [await pool.request(agent, "afterwards") for agent in range(4)])
        evidence.client = figure(opened=pool.counts().opened, open=pool.counts().open)
        evidence.fleet = figure(opened=ledger.opened, open=ledger.open_now)
        evidence.check(ledger.opened == opened, f"after it {ledger.opened - opened} connections had to be opened anew")


SHARED_SESSION = Claim(
    "shared-session",
    "Sub-clients of every kind, nested, made before and after entry, open no session of their own.",
    shared_session,
    needs=VIEWS,
)
VIEW_CLOSE = Claim(
    "view-close", "Closing a sub-client leaves the tree's requests and connections alone.", view_close, needs=VIEWS
)
