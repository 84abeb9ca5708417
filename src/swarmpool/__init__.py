"""One aiohttp session for a whole tree of vLLM agents: every sub-pool shares it, and every limit is kept."""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from swarmpool._version import __version__
from swarmpool.adaptive import Adaptive
from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import (
    AcquireTimeout,
    AdmissionError,
    AgentUnavailable,
    BadIndex,
    ConnectFailed,
    ConnectTimeout,
    EmptyPool,
    HostfileError,
    LeaseEnded,
    MisuseError,
    PoolClosed,
    QueueTimeout,
    RequestFailed,
    SwarmPoolError,
    TooManyWaiting,
    WrongEventLoop,
)
from swarmpool.events import PoolEvent, PoolEventKind
from swarmpool.health import BreakerState, Health
from swarmpool.hedging import Hedge
from swarmpool.pool import AgentPool
from swarmpool.responses import Attempt, EmbeddingResponse, FailureKind, Response, StreamChunk, TokenUsage
from swarmpool.retry import Retry
from swarmpool.routing import Candidates, LeastInFlight, Policy, PowerOfTwo, RoundRobin, Sticky, Weighted
from swarmpool.statistics import AgentStatistics, CareStatistics, PoolStatistics
from swarmpool.stream import Stream
from swarmpool.vllm import VLLMPool
from swarmpool.watched import WatchedWebSocket

if TYPE_CHECKING:
    from swarmpool.connection_pool import ConnectionEvent, ConnectionPool, ConnectionPoolStatistics, Lease
    from swarmpool.embedding_pool import EmbeddingPool
    from swarmpool.hostfile import parse_hostfile, write_hostfile
    from swarmpool.websockets import WebSocketPool

__all__ = [
    # pools
    "AgentEndpoint",
    "AgentPool",
    "ConnectionPool",
    "EmbeddingPool",
    "VLLMPool",
    "WebSocketPool",
    # what it does about agents that fail or are slow
    "Adaptive",
    "BreakerState",
    "Candidates",
    "Health",
    "Hedge",
    "LeastInFlight",
    "Policy",
    "PoolEvent",
    "PoolEventKind",
    "PowerOfTwo",
    "Retry",
    "RoundRobin",
    "Sticky",
    "Weighted",
    # what calls return
    "AgentStatistics",
    "Attempt",
    "CareStatistics",
    "ConnectionEvent",
    "ConnectionPoolStatistics",
    "EmbeddingResponse",
    "FailureKind",
    "Lease",
    "PoolStatistics",
    "Response",
    "Stream",
    "StreamChunk",
    "TokenUsage",
    "WatchedWebSocket",
    # hostfiles
    "parse_hostfile",
    "write_hostfile",
    # errors
    "AcquireTimeout",
    "AdmissionError",
    "AgentUnavailable",
    "BadIndex",
    "ConnectFailed",
    "ConnectTimeout",
    "EmptyPool",
    "HostfileError",
    "LeaseEnded",
    "MisuseError",
    "PoolClosed",
    "QueueTimeout",
    "RequestFailed",
    "SwarmPoolError",
    "TooManyWaiting",
    "WrongEventLoop",
    "__version__",
]

logging.getLogger("swarmpool").addHandler(logging.NullHandler())  # silent, unless a program asks to hear it

# Not every program needs these: they are imported when first asked for.
_LAZY = {
    "ConnectionEvent": "swarmpool.connection_pool",
    "ConnectionPool": "swarmpool.connection_pool",
    "ConnectionPoolStatistics": "swarmpool.connection_pool",
    "Lease": "swarmpool.connection_pool",
    "WebSocketPool": "swarmpool.websockets",
    "EmbeddingPool": "swarmpool.embedding_pool",
    "parse_hostfile": "swarmpool.hostfile",
    "write_hostfile": "swarmpool.hostfile",
}

if not TYPE_CHECKING:

    def __getattr__(name):
        """A name of `_LAZY`, which is there from then on."""
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LAZY[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
