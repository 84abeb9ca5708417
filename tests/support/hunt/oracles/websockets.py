"""The books of an agent's websockets, read after each of their events by the ledger that all pools are tested with."""

from __future__ import annotations

from hunt.oracles.oracle import Oracle

__all__ = ["WebSocketBooks"]


class WebSocketBooks(Oracle):
    """What `PoolLedger` has found."""

    def at_rest(self) -> None:
        for agent, ledger in self.world.ledgers.items():
            for fault in ledger.faults:
                self.must(False, f"websockets of agent {agent}: {fault}")
            ledger.faults.clear()
