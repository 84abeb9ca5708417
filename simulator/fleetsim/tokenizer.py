"""Token counts and ids without a network: a regular expression cuts, a small vocabulary names the pieces.

What it guarantees:

- the cuts cover the text, so decoding the ids of a text gives it back, whatever UTF-8 can hold;
- `count(text) == len(encode(text))`, so usage figures and `/tokenize` agree;
- a text cut off at a token boundary keeps its tokens: no cut looks behind or ahead;
- no piece has a space behind another character, so words between single spaces can be counted one by one.

A piece in the vocabulary is one token. Any other piece falls apart into five letters, up to four ASCII characters, or
one other character per token; such an id *is* its characters, packed, which is why no table of seen pieces is needed
and ids mean the same in every process. All ids fit in 31 bits, as clients expect. English comes out at about four
characters a token, as with the models it stands for.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, reduce
from string import ascii_letters

__all__ = ["IM_END", "IM_START", "Tokenizer", "UnknownTokenError", "cut"]

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
_SPECIAL = (IM_START, IM_END)

_CUT = re.compile(
    r"<\|im_(?:start|end)\|>"
    r"| ?[^\W\d_]{1,12}"  # a word, with the space before it
    r"| ?\d{1,3}"
    r"| ?[^\w\s]{1,3}"
    r"|\n{1,2}"
    r"| {2,8}"
    r"|[\s\S]"
)
_SPLIT = re.compile(r"[ A-Za-z]{5}|[\x00-\x7f]{1,4}|[^\x00-\x7f]")

_LETTERS = " " + ascii_letters
_LETTER_VALUES = {letter: value for value, letter in enumerate(_LETTERS)}
_LETTER_RUN = 5
_BITS = 7

_LONGEST_WORD_REMEMBERED = 40
_MOST_WORDS_REMEMBERED = 20_000
# Prompts come again: sent to every server of a fleet, or tried again. At most 4 MB of them are remembered.
_LONGEST_TEXT_REMEMBERED = 4_000
_MOST_TEXTS_REMEMBERED = 256

_FIRST_PACKED = 1 << 16
_FIRST_RUN = (1 << 29) + (1 << 17)
_FIRST_CODE_POINT = 1 << 30


class UnknownTokenError(ValueError):
    """An id that no text has."""


def cut(text: str) -> list[str]:
    """Return the pieces of `text`, in order and without a gap. Each piece of a vocabulary's own text is one token."""
    return _CUT.findall(text)


class _Sizes(dict[str, int]):
    """The length in tokens of each word seen so far, with `before` before it. Words repeat, so most are known."""

    __slots__ = ("_before", "_count")

    def __init__(self, count: Callable[[str], int], *, before: str) -> None:
        self._count = count
        self._before = before

    def __missing__(self, word: str) -> int:
        size = self._count(self._before + word)
        if len(word) <= _LONGEST_WORD_REMEMBERED:
            if len(self) >= _MOST_WORDS_REMEMBERED:
                self.clear()
            self[word] = size
        return size


class Tokenizer:
    """Turns text into ids and back, over `vocabulary`, whose ids `seed` shuffles (each model has its own).

    Does not change once made, but for what it remembers to be fast, so any number of servers and tasks share one.
    """

    __slots__ = ("_count_again", "_first_sizes", "_ids", "_pieces", "_sizes")

    def __init__(self, vocabulary: Iterable[str], *, seed: int) -> None:
        known = dict.fromkeys((*vocabulary, *_SPECIAL))
        # The first word of an answer loses the space before it and is still one token.
        pieces = sorted(known | dict.fromkeys(piece[1:] for piece in known if piece[0] == " " and len(piece) > 1))
        if len(pieces) > _FIRST_PACKED:
            raise ValueError(f"vocabulary: expected at most {_FIRST_PACKED} pieces, got {len(pieces)}")
        random.Random(seed).shuffle(pieces)
        self._pieces: Sequence[str] = pieces
        self._ids = {piece: number for number, piece in enumerate(pieces)}
        self._first_sizes = _Sizes(self._count, before="")
        self._sizes = _Sizes(self._count, before=" ")
        self._count_again = lru_cache(maxsize=_MOST_TEXTS_REMEMBERED)(self._count_words)

    @property
    def vocabulary_size(self) -> int:
        """How many pieces have an id of their own."""
        return len(self._pieces)

    def count(self, text: str) -> int:
        """Return the number of tokens of `text`, without making them: ten times as fast, for every request needs it."""
        return self._count_again(text) if len(text) <= _LONGEST_TEXT_REMEMBERED else self._count_words(text)

    def _count_words(self, text: str) -> int:
        if "  " in text:
            # Spaces in a row are tokens of their own.
            return self._count(text)
        first, *words = text.split(" ")
        return self._first_sizes[first] + sum(map(self._sizes.__getitem__, words))

    def _count(self, text: str) -> int:
        pieces = _CUT.findall(text)
        known = self._ids
        return len(pieces) + sum(_extra(piece) for piece in pieces if piece not in known)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        ids: list[int] = []
        known = self._ids
        for piece in _CUT.findall(text):
            number = known.get(piece)
            if number is not None:
                ids.append(number)
            else:
                ids.extend(map(_pack, _SPLIT.findall(piece)))
        return ids

    def piece(self, number: int) -> str:
        """Return the text of one id. Raises UnknownTokenError when there is none."""
        if 0 <= number < len(self._pieces):
            return self._pieces[number]
        return _unpack(number)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`. Raises UnknownTokenError naming the first id that has none."""
        return "".join(map(self.piece, ids))


def _extra(piece: str) -> int:
    if piece.isascii():
        return (len(piece) - 1) // _LETTER_RUN
    return len(_SPLIT.findall(piece)) - 1


def _pack(characters: str) -> int:
    if len(characters) == _LETTER_RUN:
        return _FIRST_RUN + reduce(lambda run, letter: run * len(_LETTERS) + _LETTER_VALUES[letter], characters, 0)
    if not characters.isascii():
        return _FIRST_CODE_POINT + ord(characters)
    # The leading 1 tells "\0" from "\0\0".
    return _FIRST_PACKED + reduce(lambda packed, character: packed << _BITS | ord(character), characters, 1)


def _unpack(number: int) -> str:
    if _FIRST_CODE_POINT + 0x80 <= number <= _FIRST_CODE_POINT + 0x10FFFF:
        return _character(number)
    if _FIRST_RUN <= number < _FIRST_RUN + len(_LETTERS) ** _LETTER_RUN:
        return _unpack_run(number - _FIRST_RUN)
    packed = number - _FIRST_PACKED
    length = (packed.bit_length() - 1) // _BITS
    if not 1 <= length <= 4 or packed >> _BITS * length != 1:
        raise UnknownTokenError(f"token id {number} is not in the vocabulary")
    places = range(_BITS * (length - 1), -1, -_BITS)
    return "".join(chr(packed >> place & 0x7F) for place in places)


def _character(number: int) -> str:
    character = chr(number - _FIRST_CODE_POINT)
    if "\ud800" <= character <= "\udfff":
        raise UnknownTokenError(f"token id {number} is not in the vocabulary")
    return character


def _unpack_run(run: int) -> str:
    letters = []
    for _ in range(_LETTER_RUN):
        run, value = divmod(run, len(_LETTERS))
        letters.append(_LETTERS[value])
    return "".join(reversed(letters))
