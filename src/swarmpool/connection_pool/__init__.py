"""`ConnectionPool[T]`: persistent connections such as websockets, lent out one caller at a time.

`states` is the life of a connection, `core` decides, `shell` carries out, `callers` wait, `pool` is what users see.
"""

from swarmpool.connection_pool.events import ConnectionEvent, EventKind
from swarmpool.connection_pool.lease import Lease
from swarmpool.connection_pool.pool import ConnectionPool
from swarmpool.connection_pool.prewarming import Prewarming
from swarmpool.connection_pool.states import CloseReason
from swarmpool.connection_pool.statistics import ConnectionPoolStatistics

__all__ = [
    "CloseReason",
    "ConnectionEvent",
    "ConnectionPool",
    "ConnectionPoolStatistics",
    "EventKind",
    "Lease",
    "Prewarming",
]
