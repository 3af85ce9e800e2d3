"""Changes of a text before a tokenizer cuts it into words: a normal form, and added tokens that are found in it."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from slipway.data.text.fast_bpe.characters import ADDED, code_points

_DIGITS, _FURTHER = bytes(range(0xF8, 0xFE)), 4
MOST_ADDED = len(_DIGITS) ** _FURTHER
"""Added tokens that can be told apart."""

_PIECE = re.compile(rb"(\xfe[\xf8-\xfd]*|\xff+)")
_NOT_ASCII = re.compile(rb"[\x80-\xf7]")


def code_of(number: int) -> bytes:
    """Return the bytes in place of an added token: ADDED and its number; UTF-8 has none of them."""
    digits = [number // len(_DIGITS) ** i % len(_DIGITS) for i in range(_FURTHER)]
    return bytes([ADDED, *(_DIGITS[digit] for digit in digits)])


class AddedTokens:
    """Finds added tokens in documents: at each place the longest, from left to right."""

    def __init__(self, added: Sequence[dict[str, Any]], numbers: Iterator[int]) -> None:
        """Prepare the search for added tokens, in whose place codes are put.

        added: those of a tokenizer.json that are looked for together. Text that a special one covers stays as it is,
        and nothing else is found there. numbers: supplies the numbers of those that are found.
        """
        contents = {token["content"].encode(): token for token in added if token["content"]}
        found = {content: token["id"] for content, token in contents.items() if not token["special"]}
        self.codes = {
            content: code_of(next(numbers)) if content in found else content for content in contents
        }
        self.ids = {self.codes[content]: number for content, number in found.items()}
        self.pattern = re.compile(_any_of(sorted(contents, key=len, reverse=True)))

    def replace(self, raw: bytes) -> bytes:
        """Return a text with codes in place of what is found."""
        codes = self.codes
        return self.pattern.sub(lambda found: codes[found[0]], raw) if self.ids else raw


def _any_of(contents: list[bytes]) -> bytes:
    """Return a regular expression for the first of `contents` that matches.

    Runs of one character are one alternative.
    """
    runs = {c for c in contents if c.isascii() and len(set(c)) == 1}
    lengths = {c[:1]: sorted(len(run) for run in runs if run[:1] == c[:1]) for c in runs}
    counted = {
        first: b"%s{%d,%d}" % (re.escape(first), found[0], found[-1])
        for first, found in lengths.items()
        if len(found) == found[-1] - found[0] + 1 and all(c in runs for c in contents if c[:1] == first)
    }
    return b"|".join(
        [*counted.values(), *(re.escape(c) for c in contents if c[:1] not in counted or c not in runs)]
    )


def to_nfc(raw: bytes, normalize: Callable[[str], str]) -> bytes:
    """Return documents in the normal form NFC, joined by END bytes and with codes of added tokens in them.

    normalize: the tokenizer's own function, used on whatever may change.
    """
    if raw.isascii():
        return raw
    batch = np.frombuffer(raw, np.uint8)
    points = code_points(batch, np.flatnonzero((batch >= 0xC0) & (batch < 0xF8)))
    if not any(_may_change(point) for point in np.unique(points[points >= _FIRST_THAT_MAY]).tolist()):
        return raw
    pieces = _PIECE.split(raw)
    pieces[::2] = [
        normalize(piece.decode()).encode() if _NOT_ASCII.search(piece) else piece for piece in pieces[::2]
    ]
    return b"".join(pieces)


_FIRST_THAT_MAY = 0x300


@lru_cache(1 << 16)
def _may_change(point: int) -> bool:
    """Return whether a text with this character may be in another form than NFC.

    In a text of characters that are whole in NFC by themselves, of combining class 0, and the second of no pair that
    is composed, nothing changes (Unicode Standard Annex 15, section 9). This holds in whatever version of Unicode the
    tokenizer has, because these properties never change; what this Python's version lacks may change.
    """
    character = chr(point)
    return (
        unicodedata.category(character) == "Cn"
        or unicodedata.combining(character) != 0
        or unicodedata.normalize("NFC", character) != character
        or point in _seconds()
    )


@lru_cache(1)
def _seconds() -> frozenset[int]:
    """Return the characters that compose with those before them."""
    decompositions = (unicodedata.decomposition(chr(point)).split() for point in range(_LAST_COMPOSED + 1))
    pairs = {int(parts[1], 16) for parts in decompositions if len(parts) == 2 and parts[0][0] != "<"}
    return frozenset(
        {*pairs, *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)}
    )  # and Hangul's vowels and finals


_LAST_COMPOSED = 0x1D1FF
"""No character above is composed of two: what follows the musical symbols has none, or other forms only."""
