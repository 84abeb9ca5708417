"""`EmbeddingPool`: agents that turn texts into vectors by `/v1/embeddings`, over the one session of a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, NoReturn, Self

from aiohttp import Fingerprint

from swarmpool.batching import deal
from swarmpool.delivery import Try, of_all
from swarmpool.exchange import WireFailure
from swarmpool.fanout import Turns, in_order
from swarmpool.formats import ShapeError, embeddings_body, encode, read_embeddings
from swarmpool.options import count, text, with_key
from swarmpool.pool import AgentPool
from swarmpool.progress import Progress, ProgressCallback, checked_progress
from swarmpool.responses import EmbeddingResponse, FailureKind, Response, TokenUsage
from swarmpool.results import REFUSALS, refused, result, status_failure

if TYPE_CHECKING:
    from swarmpool.adaptive import Adaptive
    from swarmpool.agents import Agent
    from swarmpool.events import PoolEvent
    from swarmpool.exchange import Exchange, Outcome
    from swarmpool.health import Health
    from swarmpool.hedging import Hedge
    from swarmpool.pool import EndpointLike
    from swarmpool.retry import Retry
    from swarmpool.routing import Policy

__all__ = ["EmbeddingPool", "EmbeddingResponse"]

_ENCODINGS = ("base64", "float")
# What a server says of a request that it does not take, for the sake of one text as a rule; vLLM says 400.
_NOT_TAKEN = frozenset({400, 413, 422})


Vector = list[float] | ShapeError | None


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """What an `EmbeddingPool` adds."""

    model: str | None
    encoding: str
    batch_size: int

    def __post_init__(self) -> None:
        if self.model is not None and not text("model", self.model):
            raise ValueError("model must be a name or None, not an empty text")
        if self.encoding not in _ENCODINGS:
            raise ValueError(f"encoding must be 'base64' or 'float', not {self.encoding!r}")
        count("batch_size", self.batch_size)


class EmbeddingPool(AgentPool):
    """An `AgentPool` of servers that embed.

    `model` None is the one that the server has. `encoding` is how vectors travel: "base64" or "float"; both give the
    same numbers, and what comes is read, whichever it is. A request carries at most `batch_size` texts and takes one
    slot and `timeout` seconds. `api_key` is sent as a bearer token. The other options, what is raised and what
    cancelling does are those of `AgentPool`.

    `EmbeddingPool.over(pool)` embeds with the agents of another pool, in its tree: its session, limits and life.
    """

    def __init__(
        self,
        endpoints: Iterable[EndpointLike],
        model: str | None = None,
        concurrency: int = 512,
        timeout: float | None = 60.0,
        *,
        encoding: str = "base64",
        batch_size: int = 32,
        api_key: str | None = None,
        connector_limit: int = 1024,
        concurrency_per_agent: int | None = None,
        queue_timeout: float | None = None,
        max_waiting: int | None = None,
        keepalive_timeout: float | None = 4.0,
        connect_timeout: float | None = 10.0,
        dns_ttl: float | None = None,
        headers: Mapping[str, str] | None = None,
        ssl: SSLContext | Fingerprint | bool | None = None,
        retry: Retry | None = None,
        health: Health | None = None,
        routing: Policy | None = None,
        hedge: Hedge | None = None,
        seed: int | None = None,
        on_event: Callable[[PoolEvent], object] | None = None,
        adaptive: Adaptive | None = None,
    ) -> None:
        options = EmbeddingOptions(model, encoding, batch_size)
        super().__init__(
            endpoints,
            concurrency,
            connector_limit,
            timeout,
            concurrency_per_agent=concurrency_per_agent,
            queue_timeout=queue_timeout,
            max_waiting=max_waiting,
            keepalive_timeout=keepalive_timeout,
            connect_timeout=connect_timeout,
            dns_ttl=dns_ttl,
            headers=with_key(headers, api_key),
            ssl=ssl,
            retry=retry,
            health=health,
            routing=routing,
            hedge=hedge,
            seed=seed,
            on_event=on_event,
            adaptive=adaptive,
        )
        self._embedding = options

    @classmethod
    def over(cls, pool: AgentPool, model: str | None = None, *, encoding: str = "base64", batch_size: int = 32) -> Self:
        """The agents of `pool`, a root or a view, as an `EmbeddingPool` of the same tree.

        It opens nothing, and closing it does nothing: the tree closes with its root. Raises `PoolClosed`.
        """
        options = EmbeddingOptions(model, encoding, batch_size)
        view = pool._view_as(cls, pool._agents)  # noqa: SLF001 - a view is made by the tree's own inside
        view._embedding = options  # noqa: SLF001 - it is one of ours
        return view

    @property
    def model(self) -> str | None:
        """The model asked for; None is the one that the server has."""
        return self._embedding.model

    async def embed_one(self, agent_index: int, text: str, **parameters: Any) -> EmbeddingResponse:
        """Embed one text with one agent of this view.

        `parameters`, such as `dimensions`, go into the request as they are. Raises as the class says; cancelling it
        ends the connection.
        """
        [response] = await self.embed_batch(agent_index, [text], **parameters)
        return response

    async def embed_batch(self, agent_index: int, texts: Sequence[str], **parameters: Any) -> list[EmbeddingResponse]:
        """Embed many texts with one agent of this view; results in the order of the texts.

        Vectors are placed by their `index`; a text without one fails alone, with kind `missing`. If the server does
        not take a request (status 400, 413 or 422), each of its texts is sent alone, so that only those that are at
        fault fail. Raises as a single call does if there is one request (`batch_size` texts).
        """
        self._agent(agent_index)
        texts = _checked_texts(texts)
        if len(texts) in range(1, self._embedding.batch_size + 1):
            return _told(await self._batch(agent_index, texts, range(len(texts)), parameters, movable=False))
        return await self._batches(texts, 1, lambda _: agent_index, parameters, None, movable=False)

    async def embed_all(
        self, texts: Iterable[str], *, progress: ProgressCallback | None = None, **parameters: Any
    ) -> list[EmbeddingResponse]:
        """Embed text i with agent `i % size`; results in the order of the texts, every failure among them.

        Raises `EmptyPool` and `PoolClosed` before anything is sent. Cancelling it cancels what is under way, and so
        does an exception of `progress`, which is passed on.
        """
        self._agent(0)
        checked_progress(progress)
        size = self.size
        agent_of: Callable[[int], int] = lambda number: number % size  # noqa: E731 - one use, one line
        return await self._batches(_checked_texts(texts), size, agent_of, parameters, progress, movable=self._movable)

    # ------------------------------------------------------------------------------------------------ the inside

    _operation = "embeddings"

    @property
    def _model_asked(self) -> str | None:
        return self._embedding.model

    def _view(self, agents: Iterable[Agent]) -> Self:
        view = super()._view(agents)
        view._embedding = self._embedding  # noqa: SLF001 - ours too; the root of a pool over another has none
        return view

    def _compose_now(self, *_: object) -> NoReturn:
        raise TypeError("an EmbeddingPool's agents take no prompts: use embed_one, embed_batch or embed_all")

    async def _batches(
        self,
        texts: Sequence[str],
        agents: int,
        agent_of: Callable[[int], int],
        parameters: Mapping[str, Any],
        progress: ProgressCallback | None,
        *,
        movable: bool,
    ) -> list[EmbeddingResponse]:
        batches = deal(len(texts), agents, self._embedding.batch_size)
        results: dict[int, EmbeddingResponse] = {}
        failed = 0

        async def one(number: int, indices: range) -> None:
            nonlocal failed
            chosen = [texts[index] for index in indices]
            responses = await self._quiet_batch(agent_of(number), chosen, indices, parameters, movable=movable)
            results.update(zip(indices, _told(responses), strict=True))
            failed += sum(not response.success for response in responses)
            if progress is not None:
                progress(Progress("embed", len(results), len(texts), failed))

        turns = Turns(batches, agents, self._tree.options.concurrency_per_agent)
        await in_order(turns, self._workers(batches, agents), one)
        return [results[index] for index in range(len(texts))]

    async def _quiet_batch(
        self,
        agent_index: int,
        texts: Sequence[str],
        numbers: Sequence[int],
        parameters: Mapping[str, Any],
        *,
        movable: bool,
    ) -> list[Response]:
        try:
            return await self._batch(agent_index, texts, numbers, parameters, movable=movable)
        except REFUSALS as refusal:
            agent = self._agents[agent_index]
            return [refused(agent, agent_index, refusal, number) for number in numbers]

    async def _batch(
        self,
        agent_index: int,
        texts: Sequence[str],
        numbers: Sequence[int],
        parameters: Mapping[str, Any],
        *,
        movable: bool,
    ) -> list[Response]:
        """The results of `texts`; `numbers` are their places among those of the whole call."""
        results = await self._request(agent_index, texts, numbers, parameters, movable=movable)
        if len(texts) == 1 or results[0].status not in _NOT_TAKEN:
            return results
        alone: list[Response] = []
        for one, number in zip(texts, numbers, strict=True):
            alone += await self._quiet_batch(agent_index, [one], [number], parameters, movable=movable)
            alone[-1].attempts += results[0].attempts
        return alone

    async def _request(
        self,
        agent_index: int,
        texts: Sequence[str],
        numbers: Sequence[int],
        parameters: Mapping[str, Any],
        *,
        movable: bool,
    ) -> list[Response]:
        """One request for all `texts`, in as many tries as it may have."""
        options, care = self._embedding, self._tree.care
        body = encode(embeddings_body(options.model, texts, options.encoding, parameters))
        if care.plain and not movable:
            results = await self._send_texts(agent_index, body, numbers)
            self._tree.counts.count(of_all(results).kind)
            return results

        async def once(place: int, attempt: Try) -> list[Response]:
            return await self._send_texts(place, body, numbers, attempt)

        place = None if movable and care.follows_policy else agent_index
        return await self._deliver(once, place, movable=movable)

    async def _send_texts(
        self, agent_index: int, body: bytes, numbers: Sequence[int], attempt: Try | None = None
    ) -> list[Response]:
        """The same, once, and not counted."""
        agent = self._agents[agent_index]
        exchange, outcome = await self._exchange(agent, "/v1/embeddings", body, self.timeout, attempt)
        return _results(agent_index, exchange, outcome, numbers)


@dataclass(slots=True)
class _Embedded(Response):
    """The result of a text on its way to become an `EmbeddingResponse`; `prompt_index` is the place of the text."""

    embedding: list[float] | None = None


_FACTS = tuple(field.name for field in fields(Response))
_TOLD = tuple(field.name for field in fields(EmbeddingResponse) if field.name in _FACTS)


def _told(responses: Iterable[Response]) -> list[EmbeddingResponse]:
    """What the caller gets."""
    return [
        EmbeddingResponse(
            **{name: getattr(response, name) for name in _TOLD},
            embedding=response.embedding if isinstance(response, _Embedded) else None,
            text_index=response.prompt_index,
        )
        for response in responses
    ]


def _checked_texts(texts: object) -> list[str]:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f"texts must be a collection of texts, not {type(texts).__name__}")
    return [text(f"texts[{index}]", one) for index, one in enumerate(texts)]


def _results(agent_index: int, exchange: Exchange, outcome: Outcome, numbers: Sequence[int]) -> list[Response]:
    failure = outcome.failure or status_failure(outcome)
    vectors: list[Vector] = [None] * len(numbers)
    usage: TokenUsage | None = None
    if failure is None:
        try:
            vectors, usage = read_embeddings(outcome.body, len(numbers))
        except ShapeError as error:
            failure = WireFailure(FailureKind.SHAPE, str(error))
    results: list[Response] = []
    for vector, number in zip(vectors, numbers, strict=True):
        response = result(
            agent_index,
            exchange,
            text="",
            status=outcome.status,
            failure=failure or _wrong_with(vector),
            usage=usage if len(numbers) == 1 else None,  # of a larger batch it is the sum
            prompt_index=number,
            retry_after=outcome.retry_after,
        )
        embedded = _Embedded(**{name: getattr(response, name) for name in _FACTS})
        embedded.embedding = vector if isinstance(vector, list) else None
        results.append(embedded)
    return results


def _wrong_with(vector: Vector) -> WireFailure | None:
    if vector is None:
        return WireFailure(FailureKind.MISSING, "the answer to the batch has no entry for this text")
    return WireFailure(FailureKind.SHAPE, str(vector)) if isinstance(vector, ShapeError) else None
