"""`AgentPool` and `VLLMPool` broken on purpose, one thing at a time, to see that the hunt finds it.

They are the mistakes that pools in the wild have made, each as small as it can be made in ours.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from mutation import Mutant, Patch

import swarmpool.batching
import swarmpool.tree
from swarmpool.connector import PoolConnector, _CountedHandler, open_session
from swarmpool.exchange import Exchange
from swarmpool.formats import Reply, read_completions
from swarmpool.limiter import Limiter
from swarmpool.responses import FailureKind
from swarmpool.tree import Tree
from swarmpool.views import View

__all__ = ["AGENT_POOL_MUTANTS", "VLLM_POOL_MUTANTS"]

_ENDED, _BEGIN, _CLOSE, _END, _EXPLAIN = Tree.ended, Tree._begin, Tree._close, Exchange.end, Exchange.explain
_TREE_CLOSE, _RELEASE = Tree.close, PoolConnector._release


def _is_being_cancelled() -> bool:
    return isinstance(sys.exc_info()[1], asyncio.CancelledError)


def _left(owner: Any, what: str) -> Any:
    """Something that a mutant keeps at its tree."""
    return owner.__dict__.setdefault(what, {})


def _ended_unless_cancelled(self: Any, exchange: Any) -> None:
    if _is_being_cancelled():
        self._exchanges.discard(exchange)
    else:
        _ENDED(self, exchange)


def _release_unless_cancelled(self: Any, key: Any, protocol: Any, *, should_close: bool = False) -> None:
    if not _is_being_cancelled():
        _RELEASE(self, key, protocol, should_close=should_close)


def _end_unread(self: Any) -> None:
    response = self.response
    if self._owner is not None and response is not None and response.connection is not None:
        response.release()
    _END(self)


def _should_close_never(self: Any) -> bool:
    return bool(self._should_close) or self.exception() is not None


def _begin_with_a_session_of_its_own(self: Any, agent: Any, timeout: Any, queued: Any) -> Any:
    exchange, sessions = _BEGIN(self, agent, timeout, queued), _left(self, "_sessions")
    if agent.key not in sessions:
        sessions[agent.key] = _open_another(self)
    exchange._session = sessions[agent.key]
    return exchange


def _open_another(tree: Any) -> Any:
    options = tree.options
    session, _ = open_session(
        limit=options.connector_limit,
        keepalive_timeout=options.keepalive_timeout,
        connect_timeout=options.connect_timeout,
        dns_ttl=options.dns_ttl,
        ssl=options.ssl,
        headers=options.headers,
    )
    return session


async def _close_with_all_sessions(self: Any) -> None:
    await _CLOSE(self)
    for session in _left(self, "_sessions").values():
        await session.close()


def _view_with_a_tree_of_its_own(self: Any, kind: Any, agents: Any) -> Any:
    self._tree.check_open()
    chosen = tuple(agents)
    tree = Tree(self._tree.name, [agent.endpoint for agent in chosen], self._tree.options)
    _left(self._tree, "_children")[tree] = None
    view = kind.__new__(kind)
    view.__dict__.update(self.__dict__)
    view._tree, view._agents, view._root = tree, tree.agents, self
    return view


async def _close_with_children(self: Any, drain: float) -> None:
    for child in _left(self, "_children"):
        await child.close(drain)
    await _TREE_CLOSE(self, drain)


def _explain_and_note(self: Any, error: BaseException, *, idle: bool = False) -> Any:
    failure = _EXPLAIN(self, error, idle=idle)
    if failure.kind is FailureKind.RESET and self._owner is not None:
        _left(self._owner, "_resets")[self] = None
    return failure


def _ended_twice_if_reset(self: Any, exchange: Any) -> None:
    _ENDED(self, exchange)
    books, key = self.limiter._admission, exchange.agent.key
    held = books.in_use if books.capacity_per_agent is None else books.in_use_by(key)
    if held and exchange in _left(self, "_resets"):
        books.release(key)


def _never_at_once(self: Any, agent: Any = None) -> bool:
    return False


async def _acquire_in_two_steps(self: Any, agent: Any = None) -> float:
    books = self._admission
    if books.full or books.waiting:
        return float(await self._wait(agent, asyncio.get_running_loop()))
    await asyncio.sleep(0)
    if books.capacity_per_agent is not None:
        books._line(agent).in_use += 1
    books._take()
    self._immediate += 1
    return 0.0


def _leave_only(self: Any, ticket: Any, slot: Any) -> None:
    if self._admission.withdraw(ticket):
        self._cancelled += 1


def _hand_over_to_anybody(self: Any, ticket: Any) -> bool:
    if not ticket.owner.done():
        ticket.owner.set_result(None)
    self._waited += not ticket.keeps
    return True


def _always_at_once(self: Any, agent: Any = None) -> bool:
    self._admission._most = self._admission.capacity = sys.maxsize
    self._immediate += 1
    return bool(self._admission.admit(agent))


def _open_session_for_long(**options: Any) -> Any:
    return open_session(**{**options, "keepalive_timeout": 60.0})


def _by_position(body: bytes, prompts: int) -> list[Reply | None]:
    value = json.loads(body)
    for index, choice in enumerate(value.get("choices") or ()):
        choice["index"] = index
    return read_completions(json.dumps(value).encode(), prompts)


AGENT_POOL_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "SemLost", "a slot is given back unless its caller was cancelled", Patch(Tree, "ended", _ended_unless_cancelled)
    ),
    Mutant(
        "LivekitStyle",
        "a cancelled caller's connection is neither kept nor closed",
        Patch(PoolConnector, "_release", _release_unless_cancelled),
    ),
    Mutant(
        "UnreadBody",
        "a connection with an unread body serves the next request",
        Patch(Exchange, "end", _end_unread),
        Patch(_CountedHandler, "should_close", property(_should_close_never)),
    ),
    Mutant(
        "OwnSession",
        "each agent has a session of its own",
        Patch(Tree, "_begin", _begin_with_a_session_of_its_own),
        Patch(Tree, "_close", _close_with_all_sessions),
    ),
    Mutant(
        "DoubleRelease",
        "a slot is given back twice when its connection was reset",
        Patch(Exchange, "explain", _explain_and_note),
        Patch(Tree, "ended", _ended_twice_if_reset),
    ),
    Mutant(
        "AcquireGap",
        "a turn of the loop goes by between looking for a slot and taking it",
        Patch(Limiter, "acquire_nowait", _never_at_once),
        Patch(Limiter, "acquire", _acquire_in_two_steps),
    ),
    Mutant(
        "HandoffRace", "who is cancelled as a slot is handed over keeps it", Patch(Limiter, "_give_up", _leave_only)
    ),
    Mutant(
        "NotifyLost",
        "a slot handed to who has just been cancelled wakes nobody else",
        Patch(Limiter, "_hand_over", _hand_over_to_anybody),
    ),
    Mutant(
        "ConnectorQueue",
        "all are let in, and wait in aiohttp's queue",
        Patch(Limiter, "acquire_nowait", _always_at_once),
    ),
    Mutant(
        "LongKeepAlive",
        "idle connections are kept for longer than servers keep them",
        Patch(swarmpool.tree, "open_session", _open_session_for_long),
    ),
    Mutant(
        "SubPoolSession",
        "a sub-pool has a session and a limiter of its own",
        Patch(View, "_view_as", _view_with_a_tree_of_its_own),
        Patch(Tree, "close", _close_with_children),
    ),
)
VLLM_POOL_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "ByPosition",
        "answers of a batch go by their position",
        Patch(swarmpool.batching, "read_completions", _by_position),
    ),
)
