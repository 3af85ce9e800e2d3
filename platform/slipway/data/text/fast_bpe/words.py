r"""Where the words of GPT-2's pattern begin, for a whole batch of documents at once.

Byte-level BPE tokenizers first cut text into words by the pattern
`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (`ByteLevel` of the tokenizers
library), and then merge bytes within each word only. Whether a word begins at a byte can be told from that
byte's class and its neighbours', so the cuts are a few comparisons of arrays.
"""

from functools import lru_cache

import numpy as np

END = 0xFF
"""The byte after each document of a batch: it never occurs in UTF-8."""

PADDING = 16
"""Bytes (of END) that must follow the last document's, so that words can be read past their end."""

_LETTER, _NUMBER, _OTHER, _SPACE, _END = range(5)
_QUOTE, _BLANK = ord("'"), ord(" ")


def word_starts(batch: np.ndarray) -> np.ndarray:
    """Positions [words] at which the words of a batch begin, in ascending order.

    batch [bytes], uint8: documents in UTF-8, each followed by END; END itself counts as a word.
    """
    classes = _classes(batch)
    before, after = classes[:-1], classes[1:]
    is_start = np.empty(len(batch), np.bool_)
    is_start[0] = True
    np.not_equal(before, after, out=is_start[1:])
    # ` ?` : a blank belongs to the letters, digits or signs that follow it.
    in_word = after <= _OTHER
    is_start[1:] &= ~(in_word & (batch[:-1] == _BLANK))
    # `\s+(?!\S)` leaves the last space before a word; it is a word's first character or a word of its own.
    last_space = np.flatnonzero(in_word & (before == _SPACE))
    is_start[_first_byte(batch, last_space)] = True
    _cut_contractions(batch, classes, is_start)
    return np.flatnonzero(is_start)


def _cut_contractions(batch: np.ndarray, classes: np.ndarray, is_start: np.ndarray) -> None:
    """`'s`, `'ll` and the like are words where the quote begins a word."""
    quotes = np.flatnonzero(batch == _QUOTE)
    quotes = quotes[is_start[quotes]]
    # END follows, so one byte after a quote exists, and a second one if the first is a letter.
    first = batch[quotes + 1]
    second = batch[np.minimum(quotes + 2, len(batch) - 1)]
    one_letter = np.isin(first, _bytes_of("sdmt"))
    two_letters = ((first == ord("l")) & (second == ord("l"))) | (
        np.isin(first, _bytes_of("vr")) & (second == ord("e"))
    )
    is_start[quotes[one_letter | two_letters] + 1] = False
    is_start[quotes[one_letter] + 2] = True
    is_start[quotes[two_letters] + 3] = True


def _classes(batch: np.ndarray) -> np.ndarray:
    """Class [bytes] of the character that each byte belongs to."""
    classes = _byte_classes()[batch]
    leads = np.flatnonzero((batch >= 0xC0) & (batch != END))
    if len(leads) == 0:
        return classes
    lead = batch[leads].astype(np.int32)
    extra = 1 + (lead >= 0xE0) + (lead >= 0xF0)  # continuation bytes of each character
    points = lead & np.where(extra == 1, 0x1F, np.where(extra == 2, 0x0F, 0x07))
    for i in (1, 2, 3):
        longer = extra >= i
        points[longer] = (points[longer] << 6) | (batch[leads[longer] + i] & 0x3F)
    found = character_classes(points)
    classes[leads] = found
    for i in (1, 2, 3):
        longer = extra >= i
        classes[leads[longer] + i] = found[longer]
    return classes


def _first_byte(batch: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """The first bytes of the characters that have a byte at these positions."""
    for _ in range(3):
        inside = (batch[positions] & 0xC0) == 0x80
        if not inside.any():
            break
        positions = positions - inside
    return positions


def _bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@lru_cache(1)
def _byte_classes() -> np.ndarray:
    """Class [256] of single-byte characters and of END."""
    table = np.full(256, _OTHER, np.uint8)
    table[[byte for byte in range(128) if chr(byte).isalpha()]] = _LETTER
    table[[byte for byte in range(128) if chr(byte).isdecimal()]] = _NUMBER
    table[[*range(0x09, 0x0E), _BLANK]] = _SPACE
    table[END] = _END
    return table


_UNKNOWN = 0xFF
_known_classes = np.full(0x110000, _UNKNOWN, np.uint8)  # filled as characters are met


def character_classes(points: np.ndarray) -> np.ndarray:
    """Class [points] of code points, as the regular expressions of the tokenizers library have it.

    Asked of the library, because which characters are letters changes from one Unicode version to the next.
    """
    classes = _known_classes[points]
    if (classes == _UNKNOWN).any():
        new = np.unique(points[classes == _UNKNOWN])
        _known_classes[new] = _ask_classes(new)
        classes = _known_classes[points]
    return classes


def _ask_classes(points: np.ndarray) -> np.ndarray:
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    text = points.astype("<u4").tobytes().decode("utf-32-le")
    classes = np.full(len(points), _OTHER, np.uint8)
    for pattern, name in ((r"\p{L}+", _LETTER), (r"\p{N}+", _NUMBER), (r"\s+", _SPACE)):
        matches = np.ones(len(points), np.bool_)
        for _, (start, stop) in Split(Regex(pattern), "removed").pre_tokenize_str(text):
            matches[start:stop] = False
        classes[matches] = name
    return classes
