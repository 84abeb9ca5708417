"""`VLLMPool`: agents that are vLLM servers: chat, streams, batches of completions, all over the tree's one session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Self

from aiohttp import Fingerprint

from swarmpool.batching import BATCH_LIMIT, batch_results, batch_seconds, deal
from swarmpool.delivery import Try, of_all
from swarmpool.exchange import WireFailure
from swarmpool.fanout import Turns, check_prompts, in_order
from swarmpool.formats import (
    Delta,
    ModelCard,
    Reply,
    chat_body,
    completions_body,
    encode,
    read_chat,
    read_chat_delta,
)
from swarmpool.metadata import Metadata
from swarmpool.options import VLLMOptions, count, count_or_none, text, with_key
from swarmpool.pool import AgentPool
from swarmpool.responses import Response
from swarmpool.results import REFUSALS, refused, unsent
from swarmpool.sending import Messages

if TYPE_CHECKING:
    from swarmpool.adaptive import Adaptive
    from swarmpool.agents import Agent
    from swarmpool.embedding_pool import EmbeddingPool
    from swarmpool.events import PoolEvent
    from swarmpool.health import Health
    from swarmpool.hedging import Hedge
    from swarmpool.pool import EndpointLike
    from swarmpool.retry import Retry
    from swarmpool.routing import Policy

__all__ = ["VLLMPool"]

_UNKNOWN_CONTEXT = 131_072  # tokens
_LEAST_TOKENS = 128
_CHARACTERS_PER_TOKEN = 4


class VLLMPool(AgentPool):
    """An `AgentPool` of vLLM servers.

    `model` None takes the first of `/v1/models`. Where a call names no `max_tokens`, the answer may have
    `min(max_tokens, max(128, context - len(prompt) // 4 - buffer))` tokens; the context is `model_max_context`, else
    what `/v1/models` says (asked once per tree), else 131072. `max_tokens_aggregation` (twice `max_tokens`) is for
    callers that merge answers. A batch is one request and takes one slot; its time limit is
    `max(timeout, ceil(prompts / batch_concurrency) * timeout_per_sequence)` seconds, at most `batch_timeout_cap`.
    `sampling` goes into every request, and what a call adds goes before it. `api_key` is sent as a bearer token.

    Defaults for `max_tokens` (512), `max_tokens_aggregation`, `model_max_context` and `timeout_per_sequence` (60 s)
    come from `SWARMPOOL_MAX_TOKENS` and so on where those are set; an explicit argument wins, and 0 is 0.
    """

    def __init__(
        self,
        endpoints: Iterable[EndpointLike],
        model: str | None = None,
        max_tokens: int | None = None,
        max_tokens_aggregation: int | None = None,
        model_max_context: int | None = None,
        buffer: int = 512,
        use_batch: bool = True,
        concurrency: int = 512,
        connector_limit: int = 1024,
        timeout: float | None = 300.0,
        batch_concurrency: int = 256,
        timeout_per_sequence: float | None = None,
        batch_timeout_cap: float | None = None,
        *,
        api_key: str | None = None,
        sampling: Mapping[str, Any] | None = None,
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
        options = VLLMOptions.resolve(
            model=model,
            max_tokens=max_tokens,
            max_tokens_aggregation=max_tokens_aggregation,
            model_max_context=model_max_context,
            buffer=buffer,
            use_batch=use_batch,
            batch_concurrency=batch_concurrency,
            timeout_per_sequence=timeout_per_sequence,
            batch_timeout_cap=batch_timeout_cap,
            sampling={} if sampling is None else sampling,
        )
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
        self._vllm = options
        self._metadata = Metadata(self._tree)

    @property
    def model(self) -> str | None:
        """The model asked for; None where the servers' first is taken."""
        return self._vllm.model

    @property
    def max_tokens(self) -> int:
        """Tokens of an answer, at most, where a call names no number."""
        return self._vllm.max_tokens

    @property
    def max_tokens_aggregation(self) -> int:
        """The same for calls that merge the answers of others."""
        return self._vllm.max_tokens_aggregation

    async def post_batch(
        self, agent_index: int, prompts: Sequence[str], max_tokens: int | None = None, **sampling: Any
    ) -> list[Response]:
        """Send many prompts to one agent as completions in batches; results in the order of the prompts.

        Answers are placed by their `index`; a prompt without one fails alone, with kind `missing`. A batch that fails
        as a whole fails each of its prompts. Raises as a single call does if there is one batch (1,024 prompts).
        """
        self._agent(agent_index)
        check_prompts(prompts)
        prompts = [text(f"prompts[{index}]", prompt) for index, prompt in enumerate(prompts)]
        if len(prompts) in range(1, BATCH_LIMIT + 1):
            return await self._batch(agent_index, prompts, range(len(prompts)), max_tokens, sampling, movable=False)
        return await self._batches(prompts, 1, lambda _: agent_index, max_tokens, sampling, movable=False)

    async def send_all_batched(
        self, prompts: Iterable[str], max_tokens: int | None = None, **sampling: Any
    ) -> list[Response]:
        """`send_all`, with each agent's prompts in batches of at most 1,024; one by one if `use_batch` is off."""
        if not self._vllm.use_batch:
            return await self.send_all(prompts, max_tokens, **sampling)
        self._agent(0)
        check_prompts(prompts)
        everything = [text(f"prompts[{index}]", prompt) for index, prompt in enumerate(prompts)]
        size = self.size
        agent_of: Callable[[int], int] = lambda number: number % size  # noqa: E731 - one use, one line
        return await self._batches(everything, size, agent_of, max_tokens, sampling, movable=self._movable)

    def aggregating(self) -> Self:
        """A view of the same agents whose `max_tokens` is this one's `max_tokens_aggregation`."""
        view = self._view(self._agents)
        view._vllm = replace(self._vllm, max_tokens=self.max_tokens_aggregation)  # noqa: SLF001 - it is one of ours
        return view

    def embeddings(self, model: str | None = None, **options: Any) -> EmbeddingPool:
        """These agents as an `EmbeddingPool` of the same tree: see `EmbeddingPool.over`. `model` None = the pool's."""
        from swarmpool.embedding_pool import EmbeddingPool  # noqa: PLC0415 - most pools never need it

        return EmbeddingPool.over(self, self.model if model is None else model, **options)

    # ------------------------------------------------------------------------------------------------ the dialect

    _operation = "chat"

    @property
    def _model_asked(self) -> str | None:
        return self._vllm.model

    def _compose_now(
        self, prompt: str | None, max_tokens: int | None, messages: Messages | None, sampling: Mapping[str, Any]
    ) -> tuple[str, bytes] | None:
        model = self._vllm.model
        if model is None or max_tokens is None:
            return None
        conversation, _ = _conversation(prompt, messages)
        return self._chat(model, conversation, count("max_tokens", max_tokens, at_least=0), max_tokens, sampling)

    async def _compose(
        self,
        agent: Agent,
        agent_index: int,
        prompt: str | None,
        max_tokens: int | None,
        messages: Messages | None,
        sampling: Mapping[str, Any],
    ) -> tuple[str, bytes] | Response:
        composed = self._compose_now(prompt, max_tokens, messages, sampling)
        if composed is not None:
            return composed
        conversation, length = _conversation(prompt, messages)
        found = await self._model_and_tokens(agent, agent_index, length, max_tokens)
        if isinstance(found, Response):
            return found
        return self._chat(found[0], conversation, found[1], max_tokens, sampling)

    def _stream_sampling(self, sampling: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"stream_options": {"include_usage": True}, **sampling, "stream": True}

    def _read_whole(self, body: bytes) -> Reply:
        return read_chat(body)

    def _read_event(self, data: bytes) -> Delta:
        return read_chat_delta(data)

    # ------------------------------------------------------------------------------------------------ the inside

    def _view(self, agents: Iterable[Agent]) -> Self:
        view = super()._view(agents)
        view._vllm = self._vllm  # noqa: SLF001 - ours too; those of a view that is `aggregating` are not the root's
        return view

    async def _model_and_tokens(
        self, agent: Agent, agent_index: int, length: int, max_tokens: int | None
    ) -> tuple[str, int] | Response:
        """The model and the tokens for a prompt of `length` characters; a failed `Response` if there is no model."""
        options = self._vllm
        explicit = count_or_none("max_tokens", max_tokens, at_least=0)
        model, context = options.model, options.model_max_context
        if model is None or (context is None and explicit is None):
            card = await self._metadata.ask(agent)
            if isinstance(card, ModelCard):
                model, context = model or card.name, context or card.max_model_len
            elif model is None:
                return self._without_model(agent, agent_index, card.reason)
        if explicit is not None:
            return model, explicit
        room = (context or _UNKNOWN_CONTEXT) - length // _CHARACTERS_PER_TOKEN - options.buffer
        return model, min(options.max_tokens, max(_LEAST_TOKENS, room))

    def _chat(
        self,
        model: str,
        conversation: list[Mapping[str, Any]],
        tokens: int,
        max_tokens: int | None,
        sampling: Mapping[str, Any],
    ) -> tuple[str, bytes]:
        return "/v1/chat/completions", encode(
            chat_body(model, conversation, tokens, self._sampling(sampling, max_tokens))
        )

    def _sampling(self, sampling: Mapping[str, Any], max_tokens: int | None) -> Mapping[str, Any]:
        """The pool's parameters and a call's, which win."""
        always = self._vllm.sampling
        if not always:
            return sampling
        merged = {**always, **sampling}
        if max_tokens is not None:
            merged.pop("max_tokens", None)
        return merged

    def _without_model(self, agent: Agent, agent_index: int, reason: Exception) -> Response:
        if not isinstance(reason, WireFailure):
            raise type(reason)(f"while asking /v1/models for the model: {reason}") from reason
        return unsent(agent, agent_index, reason.kind, f"no model is known, as GET /v1/models failed: {reason}")

    async def _batches(
        self,
        prompts: Sequence[str],
        agents: int,
        agent_of: Callable[[int], int],
        max_tokens: int | None,
        sampling: Mapping[str, Any],
        *,
        movable: bool,
    ) -> list[Response]:
        batches = deal(len(prompts), agents)

        async def one(number: int, indices: range) -> list[Response]:
            chosen = [prompts[index] for index in indices]
            return await self._quiet_batch(agent_of(number), chosen, indices, max_tokens, sampling, movable=movable)

        turns = Turns(batches, agents, self._tree.options.concurrency_per_agent)
        parts = await in_order(turns, self._workers(batches, agents), one)
        results = {
            index: response for part in zip(batches, parts, strict=True) for index, response in zip(*part, strict=True)
        }
        return [results[index] for index in range(len(prompts))]

    async def _quiet_batch(
        self,
        agent_index: int,
        prompts: Sequence[str],
        numbers: Sequence[int],
        max_tokens: int | None,
        sampling: Mapping[str, Any],
        *,
        movable: bool,
    ) -> list[Response]:
        try:
            return await self._batch(agent_index, prompts, numbers, max_tokens, sampling, movable=movable)
        except REFUSALS as refusal:
            agent = self._agents[agent_index]
            return [refused(agent, agent_index, refusal, number) for number in numbers]

    async def _batch(
        self,
        agent_index: int,
        prompts: Sequence[str],
        numbers: Sequence[int],
        max_tokens: int | None,
        sampling: Mapping[str, Any],
        *,
        movable: bool,
    ) -> list[Response]:
        """One request for all `prompts`; `numbers` are their places among those of the whole call."""
        if self._tree.care.plain and not movable:
            results = await self._send_batch(agent_index, prompts, numbers, max_tokens, sampling)
            self._tree.counts.count(of_all(results).kind)
            return results

        async def once(place: int, attempt: Try) -> list[Response]:
            return await self._send_batch(place, prompts, numbers, max_tokens, sampling, attempt)

        place = None if movable and self._tree.care.follows_policy else agent_index
        return await self._deliver(once, place, movable=movable, operation="text_completion")

    async def _send_batch(
        self,
        agent_index: int,
        prompts: Sequence[str],
        numbers: Sequence[int],
        max_tokens: int | None,
        sampling: Mapping[str, Any],
        attempt: Try | None = None,
    ) -> list[Response]:
        """The same, once, and not counted."""
        agent = self._agents[agent_index]
        longest = max(map(len, prompts))
        found = await self._model_and_tokens(agent, agent_index, longest, max_tokens)
        if isinstance(found, Response):
            return [replace(found, prompt_index=number) for number in numbers]
        model, tokens = found
        body = encode(completions_body(model, prompts, tokens, self._sampling(sampling, max_tokens)))
        limit = batch_seconds(self._vllm, self.timeout, len(prompts))
        exchange, outcome = await self._exchange(agent, "/v1/completions", body, limit, attempt)
        return batch_results(agent_index, exchange, outcome, numbers)


def _conversation(prompt: str | None, messages: Messages | None) -> tuple[list[Mapping[str, Any]], int]:
    """The messages, with the prompt as the last of them, and their length in characters."""
    if messages is None:
        question = text("prompt", prompt)
        return [{"role": "user", "content": question}], len(question)
    conversation = list(messages)
    for index, message in enumerate(conversation):
        if not isinstance(message, Mapping):
            raise TypeError(f"messages[{index}] must be a mapping such as a dict, not {type(message).__name__}")
    if prompt:
        conversation.append({"role": "user", "content": text("prompt", prompt)})
    if not conversation:
        raise ValueError("messages must not be empty where there is no prompt")
    return conversation, sum(len(str(message.get("content") or "")) for message in conversation)
