"""One aiohttp session for a whole tree of vLLM agents: every sub-pool shares it, and every limit is kept."""

from swarmpool._version import __version__
from swarmpool.connection_pool import (
    ConnectionEvent,
    ConnectionPool,
    ConnectionPoolStatistics,
    Lease,
)
from swarmpool.embedding_pool import EmbeddingPool
from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import (
    AcquireTimeout,
    AdmissionError,
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
from swarmpool.hostfile import parse_hostfile, write_hostfile
from swarmpool.pool import AgentPool
from swarmpool.responses import EmbeddingResponse, FailureKind, Response, StreamChunk, TokenUsage
from swarmpool.statistics import PoolStatistics
from swarmpool.streaming import Stream
from swarmpool.vllm import VLLMPool
from swarmpool.watched import WatchedWebSocket
from swarmpool.websockets import WebSocketPool

__all__ = [
    # pools
    "AgentEndpoint",
    "AgentPool",
    "ConnectionPool",
    "EmbeddingPool",
    "VLLMPool",
    "WebSocketPool",
    # what calls return
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
