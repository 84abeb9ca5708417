"""What one sequence says and why it stops: words from the corpus, cut by length or by a stop string.

An answer ends by itself after `Profile.output_tokens` (finish reason `stop`), unless the client's limit comes first
(`length`) or one of its stop strings does. Stop strings follow vLLM 0.33 (v1/engine/detokenizer.py): looked for after
every token beyond `min_tokens`, the first of the list that is there wins, and while the answer runs the last characters
are held back, as many as could belong to a stop string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from fleetsim.api.sampling import Sampling
from fleetsim.api.served import Server
from fleetsim.text import Passage

__all__ = ["Wording", "cut_short", "echo_only", "word"]

_STOP, _LENGTH, _ABORT = b'"stop"', b'"length"', b'"abort"'


class Wording(msgspec.Struct):
    """The text of one sequence, whole and in pieces, as insides of JSON strings; and how it ended, as JSON.

    `count` is its length in tokens, which is also the number of pieces. It says `prefix`, then `passage`, or where
    that was cut up otherwise, `pieces`.
    """

    passage: Passage
    count: int
    finish_reason: bytes
    stop_reason: bytes = b"null"
    prefix: bytes = b""
    pieces: list[bytes] | None = None

    def json(self) -> bytes:
        """The whole text."""
        if self.pieces is None and not self.prefix:  # nearly every answer
            return self.passage.json()
        text = self.passage.json() if self.pieces is None else b"".join(self.pieces)
        return self.prefix + text

    def pieces_json(self) -> list[bytes]:
        """What each token adds to the text."""
        pieces = self.passage.pieces_json() if self.pieces is None else self.pieces
        return [self.prefix + b"".join(pieces[:1]), *pieces[1:]] if self.prefix else pieces

    def stop_at(self, pieces: list[str], reason: str) -> None:
        """End early: `pieces` is what is said, `reason` the stop string."""
        self.pieces = [_inside(piece) for piece in pieces]
        self.count = len(pieces)
        self.finish_reason, self.stop_reason = _STOP, msgspec.json.encode(reason)

    def abort(self, said: int) -> None:
        """End after `said` tokens, because the engine was told to finish."""
        pieces = self.passage.pieces_json() if self.pieces is None else self.pieces
        self.pieces, self.count = pieces[:said], said
        self.finish_reason, self.stop_reason = _ABORT, b"null"

    def hold_back(self, pieces: list[str]) -> None:
        """Say the same, in other pieces."""
        self.pieces = [_inside(piece) for piece in pieces]


def word(server: Server, asked: Sampling, prompt: str, sequence: int, limit: int, *, echo: bool = False) -> Wording:
    """Return what sequence number `sequence` answers to `prompt`, in at most `limit` tokens."""
    served = server.served
    natural = served.profile.output_tokens
    if natural < asked.min_tokens:
        natural = asked.min_tokens
    by_itself = natural <= limit and not asked.ignore_eos
    count, finish_reason = (natural, _STOP) if by_itself else (limit, _LENGTH)
    passage = served.corpus.choose(_key(server, asked, prompt, sequence), count)
    wording = Wording(passage, count, finish_reason)
    if echo:
        wording.prefix = _inside(prompt)
    if asked.stop:
        _apply_stop_strings(wording, passage.pieces(), asked)
    return wording


def echo_only(server: Server, prompt: str) -> Wording:
    """Return the answer to a client that wants its prompt back and nothing else."""
    # vLLM generates a token for it all the same, and counts it.
    return Wording(server.served.corpus.choose(b"", 0), 1, _LENGTH, prefix=_inside(prompt))


def cut_short(wordings: Sequence[Wording], said: Mapping[int, int]) -> None:
    """End those that had not said all: `said` is how many tokens each had, by place; what is not in it had all."""
    for index, tokens in said.items():
        if tokens < wordings[index].count:
            wordings[index].abort(tokens)


def _key(server: Server, asked: Sampling, prompt: str, sequence: int) -> bytes:
    if asked.seed is None and not sequence:
        return b"%d\0%b" % (server.seed, prompt.encode())
    return b"%d/%b/%d\0%b" % (server.seed, str(asked.seed).encode(), sequence, prompt.encode())


def _inside(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]


def _apply_stop_strings(wording: Wording, pieces: list[str], asked: Sampling) -> None:
    stops = asked.stop_strings()
    text = ""
    for number, piece in enumerate(pieces, 1):
        text += piece
        if number <= asked.min_tokens:
            continue
        stop, end = _find_stop(text, len(piece), stops, whole=asked.include_stop_str_in_output)
        if stop is not None:
            said = _held_back(pieces[:number], text[:end], asked)
            wording.stop_at(said, stop)
            return
    wording.hold_back(_held_back(pieces, text, asked))


def _find_stop(text: str, added: int, stops: list[str], *, whole: bool) -> tuple[str | None, int]:
    for stop in stops:
        at = text.find(stop, max(0, len(text) - added - len(stop) + 1))
        if at >= 0:
            return stop, at + len(stop) if whole else at
    return None, len(text)


def _held_back(pieces: list[str], text: str, asked: Sampling) -> list[str]:
    held = 0 if asked.include_stop_str_in_output else max(map(len, asked.stop_strings())) - 1
    said: list[str] = []
    seen = sent = 0
    for piece in pieces[:-1]:
        seen += len(piece)
        upto = max(sent, seen - held)
        said.append(text[sent:upto])
        sent = upto
    return [*said, text[sent:]]
