"""The characters of a batch of documents, and the classes in which a pattern has them.

Which characters are letters changes from one version of Unicode to the next, so the tokenizers library is asked,
once for each character.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

END = 0xFF
"""The byte after each document of a batch: it never occurs in UTF-8."""

ADDED = 0xFE
"""The byte that begins an added token found in the text; `DIGITS` of 0xF8 to 0xFD follow, its number."""

PADDING = 16
"""Bytes (of END) that must follow the last document's, so that words can be read past their end."""

(BORDER, NUMBER, OTHER, SPACE, NEWLINE, UPPER, LOWER, LETTER, MARK) = range(9)
"""Classes: BORDER is END and what belongs to an added token, OTHER is in no class of the pattern."""

LONG_S = 0xC0
"""The symbol of U+017F, which is an `s` where case is ignored. The byte never occurs in UTF-8."""


@dataclass(frozen=True)
class Characters:
    """A batch, character by character; its last one is END."""

    classes: np.ndarray
    """Class [characters], uint8."""
    symbols: np.ndarray
    """First byte [characters], uint8: of an ASCII character the character itself. LONG_S is U+017F."""
    places: np.ndarray | None
    """Position in bytes [characters]; None where each is a byte."""


class Alphabet:
    """Tells the classes of characters."""

    def __init__(self, patterns: Sequence[tuple[str, int]], digits_alone: bool = False) -> None:
        """Look up the classes of the ASCII characters; others are looked up when they are met.

        patterns: regular expressions of one character, each with the class of what it matches; the first match counts.
        digits_alone: each digit of the pre-tokenizer `Digits` is a BORDER.
        """
        self.patterns = [(f"(?:{pattern})+", name) for pattern, name in patterns]
        self.digits_alone = digits_alone
        self.of_point = np.full(0x110000, _UNKNOWN, np.uint8)  # filled as characters are met
        self.of_byte = np.full(256, BORDER, np.uint8)  # 0xF8 and above
        self.of_byte[:128] = self._known(np.arange(128, dtype=np.int32))

    def read(self, batch: np.ndarray) -> Characters:
        """Return the characters of a batch [bytes], uint8: documents in UTF-8, each followed by END."""
        if not ((batch >= 0x80) & (batch < 0xF8)).any():
            return Characters(self.of_byte[batch], batch, None)
        places = np.flatnonzero((batch & 0xC0) != 0x80)
        symbols = batch[places]
        classes = self.of_byte[symbols]
        many = np.flatnonzero((symbols >= 0xC0) & (symbols < 0xF8))
        points = code_points(batch, places[many])
        classes[many] = self._known(points)
        symbols[many[points == 0x17F]] = LONG_S
        return Characters(classes, symbols, places)

    def _known(self, points: np.ndarray) -> np.ndarray:
        classes = self.of_point[points]
        if (classes == _UNKNOWN).any():
            new = np.unique(points[classes == _UNKNOWN])
            self.of_point[new] = self._ask(new)
            classes = self.of_point[points]
        return classes

    def _ask(self, points: np.ndarray) -> np.ndarray:
        from tokenizers import Regex
        from tokenizers.pre_tokenizers import Digits, Split

        text = points.astype("<u4").tobytes().decode("utf-32-le")
        classes = np.full(len(points), OTHER, np.uint8)
        for pattern, name in reversed(self.patterns):
            matches = np.ones(len(points), np.bool_)
            for _, (start, stop) in Split(Regex(pattern), "removed").pre_tokenize_str(text):
                matches[start:stop] = False
            classes[matches] = name
        if self.digits_alone:
            alone = [Digits(individual_digits=True).pre_tokenize_str(f"{c}a{c}") for c in text]
            classes[[len(parts) == 3 for parts in alone]] = BORDER
        return classes


_UNKNOWN = 0xFF


def code_points(batch: np.ndarray, leads: np.ndarray) -> np.ndarray:
    """Return the code points, [leads] int32, of the characters of several bytes that begin at these positions."""
    lead = batch[leads].astype(np.int32)
    extra = 1 + (lead >= 0xE0) + (lead >= 0xF0)  # continuation bytes of each character
    points = lead & np.where(extra == 1, 0x1F, np.where(extra == 2, 0x0F, 0x07))
    for i in (1, 2, 3):
        longer = extra >= i
        points[longer] = (points[longer] << 6) | (batch[leads[longer] + i] & 0x3F)
    return points
