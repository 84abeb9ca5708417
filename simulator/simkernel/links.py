"""The way to a server's address: how long packets take and whether they arrive.

A link's values are always worked out anew from the settings and all effects in force, so overlapping faults add up and
may end in any order: nothing is ever "restored".
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from simkernel.settings import Settings

__all__ = ["Address", "Effect", "Link", "Target"]

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """What a fault strikes: addresses, or one port of them; None: all."""

    addresses: frozenset[str] | None = None
    port: int | None = None

    def covers(self, address: Address) -> bool:
        """Whether a server's `address` is meant."""
        host, port = address
        return (self.addresses is None or host in self.addresses) and self.port in (None, port)

    def includes(self, other: Target) -> bool:
        """Whether whatever `other` covers is covered."""
        inside = self.addresses is None or (other.addresses is not None and other.addresses <= self.addresses)
        return inside and self.port in (None, other.port)

    def __str__(self) -> str:
        where = "everywhere" if self.addresses is None else ",".join(sorted(self.addresses))
        return where if self.port is None else f"{where}:{self.port}"


@dataclass(slots=True, eq=False)
class Effect:
    """One fault in force on every link its target covers."""

    target: Target
    partitioned: bool = False
    refusing: bool = False
    backlog_full: bool = False
    factor: float = 1.0
    extra: float = 0.0
    bandwidth: float | None = None
    syns_to_lose: int = 0


@dataclass(slots=True)
class Link:
    """The way between the server's `address` and its clients, in both directions."""

    address: Address
    settings: Settings
    latency: float = 0.0
    bandwidth: float | None = None
    partitioned: bool = False
    refusing: bool = False
    backlog_full: bool = False
    is_immediate: bool = False
    """Whether what is sent arrives within the call that sends it, as on Linux's loopback."""
    effects: list[Effect] = field(default_factory=list)

    def work_out(self, effects: Iterable[Effect]) -> None:
        """Take the values that follow from the settings and from those of `effects` that are meant for this link."""
        self.effects = mine = [effect for effect in effects if effect.target.covers(self.address)]
        self.latency, speeds = self.settings.latency, [self.settings.bandwidth]
        for effect in mine:
            self.latency = self.latency * effect.factor + effect.extra
            speeds.append(effect.bandwidth)
        self.bandwidth = min((speed for speed in speeds if speed is not None), default=None)
        self.is_immediate = not (self.latency or self.bandwidth or self.settings.quantum)
        self.partitioned = any(effect.partitioned for effect in mine)
        self.refusing = any(effect.refusing for effect in mine)
        self.backlog_full = any(effect.backlog_full for effect in mine)

    def delay(self, chance: random.Random) -> float:
        """Seconds the next packet takes."""
        latency, jitter = self.latency, self.settings.jitter
        return latency * (1.0 + jitter * chance.random()) if latency and jitter else latency

    def loses_syn(self) -> bool:
        """Whether the SYN that has just come is one to lose. It is counted."""
        for effect in self.effects:
            if effect.syns_to_lose:
                effect.syns_to_lose -= 1
                return True
        return False
