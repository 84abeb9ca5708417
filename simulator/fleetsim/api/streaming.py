"""Streams: one event per token, from byte templates in which only the text differs.

vLLM sends nothing before the engine's first output, then whatever opens the stream (chat's role events) together with
the first token; id and `created` are the same in every event of a stream. The parts of an event, in order: the head of
the frame, one choice, usage when each event carries it, the fingerprint when no usage event follows the last, the end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from fleetsim.api.refusals import halted
from fleetsim.api.sampling import Sampling
from fleetsim.api.served import Server
from fleetsim.api.wording import Wording
from fleetsim.engine import AbortedError, EngineHaltedError, Generation

__all__ = ["DONE", "Frame", "Script", "error_event", "stream", "usage_counts"]

DONE = b"data: [DONE]\n\n"


def usage_counts(prompt_tokens: int, completion_tokens: int) -> bytes:
    """Return the three counts in vLLM's order, as the inside of a JSON object."""
    return b'"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d' % (
        prompt_tokens,
        prompt_tokens + completion_tokens,
        completion_tokens,
    )


class Frame:
    """What all events of one stream have in common. `id` is JSON, `kind` the wire's `object`."""

    __slots__ = ("continuous", "fingerprint", "head", "with_usage")

    def __init__(self, server: Server, asked: Sampling, *, id: bytes, kind: bytes, created: int) -> None:  # noqa: A002 (the wire's word)
        self.head = b'data: {"id":%b,"object":"%b","created":%d,"model":%b,"choices":[' % (
            id,
            kind,
            created,
            server.served.model,
        )
        self.fingerprint = b',"system_fingerprint":%b' % server.served.fingerprint
        self.with_usage, self.continuous = asked.usage_asked()

    def usage_event(self, prompt_tokens: int, completion_tokens: int) -> bytes:
        """The event before the last, for a client that asked for usage."""
        counts = usage_counts(prompt_tokens, completion_tokens)
        return b'%b],"usage":{%b}%b}\n\n' % (self.head, counts, self.fingerprint)


@dataclass(slots=True, kw_only=True)
class Script:
    """One stream, ready to be performed; lists are by sequence.

    - `openings`: events up to their usage, sent with the first token; `opening_end`: from there on.
    - `heads`: a token's event up to its text. `tail`: from there to its usage. `last_tail`: the same for a last token,
      with places for finish reason and stop reason. `end`: from the usage on.
    - `usage_extra`: what follows the counts when each event carries usage.
    - `prompt_tokens`: by sequence; `all_prompt_tokens`: each prompt once.
    """

    frame: Frame
    wordings: Sequence[Wording]
    prompt_tokens: Sequence[int]
    all_prompt_tokens: int
    heads: list[bytes]
    tail: bytes
    last_tail: bytes
    end: bytes
    openings: list[bytes] = field(default_factory=list)
    opening_end: bytes = b""
    usage_extra: bytes = b""

    def opening_events(self) -> list[bytes]:
        """What goes before the first token."""
        return [opening + self._counted(index, 0) + self.opening_end for index, opening in enumerate(self.openings)]

    def token_tail(self, index: int, tokens: int) -> bytes:
        """What follows the text of a token that is not the last."""
        return self.tail + self._counted(index, tokens) + self.end

    def last_event(self, index: int, piece: bytes) -> bytes:
        """The event with which sequence `index` finishes."""
        wording = self.wordings[index]
        reasons = self.last_tail % (wording.finish_reason, wording.stop_reason)
        counted = self._counted(index, wording.count)
        fingerprint = b"" if self.frame.with_usage else self.frame.fingerprint
        return b"".join((self.heads[index], piece, reasons, counted, fingerprint, self.end))

    def aborted_events(self, left: Sequence[int]) -> list[bytes]:
        """What ends a stream whose engine was told to finish; `left` are the tokens still to come, by sequence."""
        events = []
        for index, tokens in enumerate(left):
            if tokens:
                self.wordings[index].abort(self.wordings[index].count - tokens)
                events.append(self.last_event(index, b""))
        return events + self.closing_events()

    def closing_events(self) -> list[bytes]:
        """What goes after the last token of all."""
        if not self.frame.with_usage:
            return [DONE]
        completion_tokens = sum(wording.count for wording in self.wordings)
        return [self.frame.usage_event(self.all_prompt_tokens, completion_tokens), DONE]

    def _counted(self, index: int, tokens: int) -> bytes:
        if not self.frame.continuous:
            return b""
        return b',"usage":{%b%b}' % (usage_counts(self.prompt_tokens[index], tokens), self.usage_extra)


def error_event(reason: EngineHaltedError) -> bytes:
    """Return the event that tells a stream under way why it ends; the status has been sent as 200."""
    return b"data: %b\n\n" % halted(reason).reply().body


async def stream(script: Script, generation: Generation) -> AsyncGenerator[bytes, None]:
    """Yield the events of `script` as `generation` makes its tokens. Cancelling it stops the generation."""
    said = [iter(wording.pieces_json()) for wording in script.wordings]
    left = [wording.count for wording in script.wordings]
    heads = script.heads
    plain_tail = b"" if script.frame.continuous else script.tail + script.end
    opening = script.opening_events()
    try:
        async for batch in generation:
            for event in opening:
                yield event
            opening = []
            for index in batch:
                left[index] = more = left[index] - 1
                piece = next(said[index])
                if not more:
                    yield script.last_event(index, piece)
                elif plain_tail:
                    yield heads[index] + piece + plain_tail
                else:
                    yield heads[index] + piece + script.token_tail(index, script.wordings[index].count - more)
        closing = script.closing_events()
    except AbortedError:
        closing = opening + script.aborted_events(left)
    except EngineHaltedError as reason:
        closing = [error_event(reason), DONE]
    for event in closing:
        yield event
