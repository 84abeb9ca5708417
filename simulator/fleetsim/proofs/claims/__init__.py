"""The claims, in the order they are told and run. One theme per file; a claim is a scenario function and a sentence."""

from __future__ import annotations

from typing import Final

from fleetsim.proofs.claim import Claim
from fleetsim.proofs.claims.cancelling import CANCEL_PHASES
from fleetsim.proofs.claims.closing import CLEAN_CLOSE, REFUSAL
from fleetsim.proofs.claims.ejecting import EJECT_RETURN
from fleetsim.proofs.claims.endings import EAGER_EOF, EVERY_ENDING
from fleetsim.proofs.claims.faults import CATALOGUE
from fleetsim.proofs.claims.hedging import HEDGE_LOSER
from fleetsim.proofs.claims.keepalive import KEEPALIVE_RACE
from fleetsim.proofs.claims.ledgers import LEDGERS_AGREE
from fleetsim.proofs.claims.limits import AGENT_CAP, CONCURRENCY, SOCKET_LIMIT
from fleetsim.proofs.claims.persistent import (
    WS_CLOSE,
    WS_DEADLINE,
    WS_INVALIDATE,
    WS_PEER_CLOSE,
    WS_PREWARM,
    WS_REUSE,
)
from fleetsim.proofs.claims.retrying import RETRY_AFTER, RETRY_COUNT
from fleetsim.proofs.claims.reuse import EXACTLY_N, ONE_CONNECTION
from fleetsim.proofs.claims.views import SHARED_SESSION, VIEW_CLOSE
from fleetsim.proofs.claims.waiting import NO_STRANDED_WAITER

__all__ = ["CLAIMS"]

CLAIMS: Final[tuple[Claim, ...]] = (
    ONE_CONNECTION,
    EXACTLY_N,
    SOCKET_LIMIT,
    CONCURRENCY,
    AGENT_CAP,
    SHARED_SESSION,
    VIEW_CLOSE,
    CLEAN_CLOSE,
    EAGER_EOF,
    EVERY_ENDING,
    CANCEL_PHASES,
    KEEPALIVE_RACE,
    NO_STRANDED_WAITER,
    REFUSAL,
    LEDGERS_AGREE,
    RETRY_COUNT,
    RETRY_AFTER,
    EJECT_RETURN,
    HEDGE_LOSER,
    WS_REUSE,
    WS_DEADLINE,
    WS_PEER_CLOSE,
    WS_INVALIDATE,
    WS_PREWARM,
    WS_CLOSE,
    *CATALOGUE,
)
