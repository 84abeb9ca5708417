"""One aiohttp session for a whole tree of vLLM agents: every sub-pool shares it, and every limit is kept."""

from swarmpool._version import __version__
from swarmpool.endpoints import AgentEndpoint
from swarmpool.errors import (
    AdmissionError,
    BadIndex,
    EmptyPool,
    HostfileError,
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
from swarmpool.responses import FailureKind, Response, StreamChunk, TokenUsage
from swarmpool.statistics import PoolStatistics
from swarmpool.streaming import Stream
from swarmpool.vllm import VLLMPool

__all__ = [
    # pools
    "AgentEndpoint",
    "AgentPool",
    "VLLMPool",
    # what calls return
    "FailureKind",
    "PoolStatistics",
    "Response",
    "Stream",
    "StreamChunk",
    "TokenUsage",
    # hostfiles
    "parse_hostfile",
    "write_hostfile",
    # errors
    "AdmissionError",
    "BadIndex",
    "EmptyPool",
    "HostfileError",
    "MisuseError",
    "PoolClosed",
    "QueueTimeout",
    "RequestFailed",
    "SwarmPoolError",
    "TooManyWaiting",
    "WrongEventLoop",
    "__version__",
]
