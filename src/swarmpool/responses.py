"""What a call returns: `Response`, `EmbeddingResponse`, and `StreamChunk` for each piece of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from swarmpool.errors import RequestFailed

if TYPE_CHECKING:
    from swarmpool.endpoints import AgentEndpoint

__all__ = ["Attempt", "EmbeddingResponse", "FailureKind", "Response", "StreamChunk", "TokenUsage", "numbered"]


class FailureKind(StrEnum):
    """Why there is no good answer. The comment says what was seen."""

    CONNECT = "connect"  # no connection: refused, unreachable
    CONNECT_TIMEOUT = "connect_timeout"  # no connection within `connect_timeout`
    DNS = "dns"  # the host name has no address
    TLS = "tls"  # the handshake or the certificate failed
    DESCRIPTORS = "descriptors"  # this process may open no more files
    DISCONNECTED = "disconnected"  # the server ended the connection before the head of an answer (FIN)
    RESET = "reset"  # the same with a reset (RST)
    TRUNCATED = "truncated"  # the body was cut (FIN or RST: a client cannot tell)
    PROTOCOL = "protocol"  # the bytes are not HTTP
    STATUS = "status"  # a whole answer with a status other than 2xx
    SHAPE = "shape"  # 2xx, but the body is not what this call expects
    MISSING = "missing"  # the answer to a batch has no entry for this prompt
    STREAM_ERROR = "stream_error"  # an error event inside a stream of status 200
    INCOMPLETE = "incomplete"  # a stream ended cleanly, with neither `finish_reason` nor `[DONE]`
    ABORTED = "aborted"  # the server gave the answer up midway: finish_reason "abort", at status 200
    TIMEOUT = "timeout"  # `timeout` seconds on the wire
    IDLE_TIMEOUT = "idle_timeout"  # nothing came on a stream for `idle_timeout` seconds
    ABANDONED = "abandoned"  # the caller left a stream before its end
    CLOSED = "closed"  # the pool was closed while the request was under way, or before its turn came
    QUEUE_TIMEOUT = "queue_timeout"  # no slot within `queue_timeout`; never sent
    TOO_MANY_WAITING = "too_many_waiting"  # `max_waiting` callers waited already; never sent
    UNAVAILABLE = "unavailable"  # the breaker of the agent, or of every agent, is open; never sent


# These records are made once or more per request, and a frozen dataclass is ten times dearer to make. Nobody but their
# receiver holds them.


@dataclass(slots=True)
class TokenUsage:
    """Tokens as the server counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a request that was tried more than once.

    `kind` None is the try that was cancelled as another had answered before it. `pause_seconds` were waited after it.
    """

    tree_index: int
    kind: FailureKind | None
    error: str | None
    status: int | None
    connection: Literal["new", "reused"] | None
    attempts: int
    queue_seconds: float
    wire_seconds: float
    pause_seconds: float


@dataclass(slots=True)
class Response:
    """The one result of one request.

    `success` is true only for a 2xx answer of the expected shape, and then `kind` and `error` are None. `text` is what
    was received, also of a failed stream. `agent_index` counts in the view that sent it, `tree_index` in the root.
    `queue_seconds` were spent waiting for a slot, `wire_seconds` from then to the end of the body; for a stream
    `first_token_seconds` of those went by before the first text. `attempts` counts times it was sent, or tried to be
    (0 = never), `connection` says whether the last of them took a connection that had served before. `prompt_index` is
    the place of the prompt among those of a call with many. `retry_after` is what a refusal asked for, in seconds.
    `earlier` are the tries before the one this record tells of, oldest first, and those that lost against it; the
    seconds and `attempts` are those of all of them together. `tool_calls` and `logprobs` are the server's, where there
    are any: of a stream, the calls put together and the probabilities of its chunks in a list.
    """

    success: bool
    text: str
    error: str | None = None
    agent_index: int = -1
    tree_index: int = -1
    endpoint: AgentEndpoint | None = None
    kind: FailureKind | None = None
    status: int | None = None
    attempts: int = 0
    queue_seconds: float = 0.0
    wire_seconds: float = 0.0
    first_token_seconds: float | None = None
    finish_reason: str | None = None
    usage: TokenUsage | None = None
    connection: Literal["new", "reused"] | None = None
    prompt_index: int | None = None
    retry_after: float | None = None
    earlier: tuple[Attempt, ...] = ()
    tool_calls: list[dict[str, Any]] | None = None
    logprobs: Any = None

    def unwrap(self) -> str:
        """Return `text` of a success; raise `RequestFailed` (it carries this record) of anything else."""
        if not self.success:
            raise RequestFailed(self)
        return self.text


@dataclass(slots=True)
class EmbeddingResponse:
    """The one result of one text that was to be embedded: `embedding` of a success, `error` and `kind` of a failure.

    `text_index` is the place of the text in the call. The other fields are those of `Response`; texts that were sent
    in one request share what it took, and its `usage` is given where the text was alone in it.
    """

    success: bool
    embedding: list[float] | None = None
    error: str | None = None
    agent_index: int = -1
    tree_index: int = -1
    endpoint: AgentEndpoint | None = None
    kind: FailureKind | None = None
    status: int | None = None
    attempts: int = 0
    queue_seconds: float = 0.0
    wire_seconds: float = 0.0
    usage: TokenUsage | None = None
    connection: Literal["new", "reused"] | None = None
    text_index: int | None = None
    retry_after: float | None = None
    earlier: tuple[Attempt, ...] = ()

    def unwrap(self) -> list[float]:
        """Return `embedding` of a success; raise `RequestFailed` (it carries this record) of anything else."""
        if not self.success or self.embedding is None:
            raise RequestFailed(self)
        return self.embedding


@dataclass(slots=True)
class StreamChunk:
    """One piece of a stream.

    `gap_seconds` is the time since the piece before it; for the first, since the request was sent (the time to first
    token). `tokens` is the server's count where it sends one with each piece, else 1 for a piece with text. The last
    chunk of every stream, whole or failed, has no text and carries the `response`. `tool_calls` are pieces of calls as
    the server sends them, and `logprobs` what it says of the chunk's tokens: a chunk may have either and no text.
    `prompt_index` is the place of the prompt in a call with many.
    """

    text: str
    tokens: int
    gap_seconds: float
    response: Response | None = None
    tool_calls: list[dict[str, Any]] | None = None
    logprobs: Any = None
    prompt_index: int | None = None


def numbered(chunk: StreamChunk, prompt_index: int) -> StreamChunk:
    """The chunk, and its response if it has one, as those of one prompt among many."""
    chunk.prompt_index = prompt_index
    if chunk.response is not None:
        chunk.response.prompt_index = prompt_index
    return chunk
