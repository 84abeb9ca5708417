"""What the servers say: slices of one corpus, chosen by a hash of (seed, prompt).

The corpus was written by faker once and is kept in the package as a snapshot, because faker's words are only stable
within one of its versions, and importing it costs more than starting a hundred servers. So the same seed and prompt
give the same words in every process, on every Python, with or without faker installed.

A new snapshot is made by `python -m fleetsim.text >simulator/fleetsim/corpus-2.txt`, and `SNAPSHOT` then names it. That
changes every answer, which users see. For words of its own a program makes a `Corpus(fresh_text(seed))`.
"""

from __future__ import annotations

import random
import sys
from array import array
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from itertools import accumulate
from zlib import crc32

import msgspec

from fleetsim.tokenizer import cut

__all__ = ["SNAPSHOT", "Corpus", "Passage", "fresh_text", "snapshot"]

SNAPSHOT = "corpus-1.txt"

_SNAPSHOT_SEED = 1
_SNAPSHOT_PARAGRAPHS = 900
# Mostly English, with enough of the rest that a client must get UTF-8 right.
_LOCALES = ("en_US",) * 16 + ("fr_FR", "de_DE", "es_ES", "ja_JP")


class Corpus:
    """A text as tokens, ready to be quoted. Immutable once made, so all servers of a process share one.

    Raises ValueError when `text` holds no sentence to begin with.
    """

    __slots__ = ("_json", "_json_ends", "_pieces", "_pieces_json", "_starts", "vocabulary")

    def __init__(self, text: str) -> None:
        pieces = cut(text)
        escaped = {piece: msgspec.json.encode(piece)[1:-1] for piece in set(pieces)}
        self.vocabulary = frozenset(escaped)
        self._pieces = list(map(sys.intern, pieces))
        self._pieces_json = [escaped[piece] for piece in pieces]
        self._json = b"".join(self._pieces_json)
        self._json_ends = array("L", accumulate(map(len, self._pieces_json), initial=0))
        self._starts = array("L", _sentence_starts(pieces))
        if not self._starts:
            raise ValueError(f"text: expected at least one sentence, got {text[:40]!r}")

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self._pieces)

    def choose(self, key: bytes, count: int) -> Passage:
        """Return the passage of `count` tokens that `key` stands for: it begins with a sentence."""
        return Passage(self, self._starts[crc32(key) % len(self._starts)], count)

    def pieces(self, start: int, count: int) -> list[str]:
        """Return `count` tokens from `start` on, as text; the corpus goes round."""
        return [piece for first, last in self._spans(start, count) for piece in self._pieces[first:last]]

    def pieces_json(self, start: int, count: int) -> list[bytes]:
        """Return `count` tokens from `start` on, each as the inside of a JSON string."""
        spans = self._spans(start, count)
        return [piece for first, last in spans for piece in self._pieces_json[first:last]]

    def json(self, start: int, count: int) -> bytes:
        """Return `count` tokens from `start` on, together, as the inside of a JSON string."""
        ends = self._json_ends
        if start + count < len(ends):
            return self._json[ends[start] : ends[start + count]]
        return b"".join([self._json[ends[first] : ends[last]] for first, last in self._spans(start, count)])

    def _spans(self, start: int, count: int) -> Iterator[tuple[int, int]]:
        while count > 0:
            last = min(start + count, len(self._pieces))
            yield start, last
            count -= last - start
            start = 0


class Passage(msgspec.Struct, frozen=True):
    """`count` tokens of a corpus, without the space that a first word inside a paragraph carries."""

    corpus: Corpus
    start: int
    count: int

    def text(self) -> str:
        """The whole passage."""
        return "".join(self.pieces())

    def pieces(self) -> list[str]:
        """The passage, one string a token."""
        pieces = self.corpus.pieces(self.start, self.count)
        return [pieces[0].removeprefix(" "), *pieces[1:]] if pieces else pieces

    def json(self) -> bytes:
        """The whole passage, as the inside of a JSON string."""
        return self.corpus.json(self.start, self.count).removeprefix(b" ")

    def pieces_json(self) -> list[bytes]:
        """The passage, one inside of a JSON string a token."""
        pieces = self.corpus.pieces_json(self.start, self.count)
        if pieces:
            pieces[0] = pieces[0].removeprefix(b" ")
        return pieces


def _sentence_starts(pieces: list[str]) -> Iterator[int]:
    ended = True
    for index, piece in enumerate(pieces):
        if ended and len(piece.strip()) > 1:
            yield index
        ended = piece[-1] in ".。" or (ended and piece.isspace())


@lru_cache(maxsize=1)
def snapshot() -> Corpus:
    """Return the corpus in the package, read once a process. Not safe to change; there is no way to."""
    return Corpus(resources.files("fleetsim").joinpath(SNAPSHOT).read_text(encoding="utf-8"))


def fresh_text(seed: int, *, paragraphs: int = _SNAPSHOT_PARAGRAPHS) -> str:
    """Return new text, written by faker: the same for the same seed *and the same version of faker*.

    Raises ModuleNotFoundError without faker.
    """
    from faker import Faker  # noqa: PLC0415 (300 ms that a fleet on the snapshot does not pay)

    writers = {}
    for number, locale in enumerate(dict.fromkeys(_LOCALES)):
        writers[locale] = Faker(locale)
        writers[locale].seed_instance(seed * 1_000 + number)
    chance = random.Random(seed)
    written = (_paragraph(writers[chance.choice(_LOCALES)], chance.randint(2, 7)) for _ in range(paragraphs))
    return "\n\n".join(written) + "\n\n"


def _paragraph(writer: object, sentences: int) -> str:
    return " ".join(str(sentence).strip() for sentence in writer.sentences(nb=sentences))  # type: ignore[attr-defined]  # faker's providers are attributes made at run time


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # a real stdout when run as a command
    sys.stdout.write(fresh_text(_SNAPSHOT_SEED))
