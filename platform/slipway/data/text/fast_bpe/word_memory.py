"""A memory of words and their tokens."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from slipway.data.text.fast_bpe.characters import PADDING

_LONGEST = 15
"""Bytes of a word that is its own key: two integers that hold them and their number."""


class WordMemory:
    """Tokens of words.

    Words of up to 15 bytes are in an open-addressing table, in which many are looked up at once; longer ones are in a
    dictionary.
    """

    def __init__(
        self, tokenize: Callable[[bytes], list[int]], dtype: type, most_words: int = 1 << 19
    ) -> None:
        """Begin without words.

        tokenize: returns the tokens of a word that is new. dtype: the type of tokens. most_words: how many are
        remembered.
        """
        self.tokenize = tokenize
        self.most_words = most_words
        self.long_words: dict[bytes, int] = {}
        self.table = np.zeros(64, np.int64)  # words, by their keys' hashes; 0: the slot is free
        # Of word w, from 1 on: its key, and tokens[offsets[w] : offsets[w] + counts[w]].
        self.known, self.used = 1, 0
        self.low, self.high = np.zeros(64, np.uint64), np.zeros(64, np.uint64)
        self.offsets, self.counts = np.zeros(64, np.int64), np.zeros(64, np.int64)
        self.tokens = np.zeros(64, dtype)

    def encode(self, raw: bytes, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of words, one word after the other [tokens], and where those of each end [words].

        raw: the words, which begin at `starts` [words], followed by PADDING bytes.
        """
        lengths = np.diff(starts, append=len(raw) - PADDING)
        low, high = _keys(raw, starts, lengths)
        words = self._find(low, high)
        unknown = np.flatnonzero(words == 0)
        known, used = self.known, self.used
        if len(unknown):
            spans = zip(starts[unknown].tolist(), (starts + lengths)[unknown].tolist(), strict=True)
            numbers, known, used = self._learn([raw[start:stop] for start, stop in spans])
            words[unknown] = numbers
        counts = self.counts[words]
        ends = np.cumsum(counts)
        where = np.repeat(self.offsets[words] - (ends - counts), counts)
        where += np.arange(len(where))
        tokens = self.tokens[where]
        self.known, self.used = known, used  # forgets those for which there is no room
        return tokens, ends

    def _find(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return the numbers [words] of the words with these keys; 0 for an unknown word."""
        slots = self._slots(low, high)
        words = self.table[slots]
        rest = np.flatnonzero((self.low[words] != low) | (self.high[words] != high))
        while len(rest := rest[words[rest] != 0]):
            slots[rest] = (slots[rest] + 1) & (len(self.table) - 1)
            words[rest] = here = self.table[slots[rest]]
            rest = rest[(self.low[here] != low[rest]) | (self.high[here] != high[rest])]
        return words

    def _learn(self, texts: list[bytes]) -> tuple[list[int], int, int]:
        """Return the numbers of words that are new or long, and the values of `known` and `used` after this call."""
        seen = Counter(texts)
        new = [text for text in seen if text not in self.long_words]
        kept = len(new)
        if self.known > self.most_words // 2:
            # Now that half of the memory is used, a word earns its place by occurring twice in a batch.
            new.sort(key=lambda text: seen[text] == 1)
            kept = sum(seen[text] > 1 for text in new)
        kept = max(0, min(kept, self.most_words - self.known))
        numbers = dict(zip(new, range(self.known, self.known + len(new)), strict=True))
        encoded = [self.tokenize(text) for text in new]
        self.remember(new[:kept], encoded[:kept])
        known, used = self.known, self.used
        self._append(new[kept:], encoded[kept:])
        return [numbers[text] if text in numbers else self.long_words[text] for text in texts], known, used

    def remember(self, words: list[bytes], tokens: list[list[int]]) -> None:
        """Add the tokens of these words, which are new."""
        first = self.known
        self._append(words, tokens)
        self.long_words.update((word, first + i) for i, word in enumerate(words) if len(word) > _LONGEST)
        fresh = np.arange(first, self.known)
        while 2 * self.known > len(self.table):
            self.table = np.zeros(4 * len(self.table), np.int64)
            fresh = np.arange(1, self.known)
        fresh = fresh[self.high[fresh] >> np.uint64(56) <= _LONGEST]
        slots = self._slots(self.low[fresh], self.high[fresh])
        while len(fresh):
            free = self.table[slots] == 0
            self.table[slots[free]] = fresh[free]
            left = self.table[slots] != fresh
            fresh, slots = fresh[left], (slots[left] + 1) & (len(self.table) - 1)

    def _append(self, words: list[bytes], tokens: list[list[int]]) -> None:
        """Give the next numbers to these words."""
        raw = b"".join(words) + bytes(PADDING)
        lengths = np.array([len(word) for word in words], np.int64)
        low, high = _keys(raw, np.cumsum(lengths) - lengths, lengths)
        counts = np.array([len(ids) for ids in tokens], np.int64)
        flat = np.array([token for ids in tokens for token in ids], self.tokens.dtype)
        self.low = _extended(self.low, self.known, low)
        self.high = _extended(self.high, self.known, high)
        self.counts = _extended(self.counts, self.known, counts)
        self.offsets = _extended(self.offsets, self.known, self.used + np.cumsum(counts) - counts)
        self.tokens = _extended(self.tokens, self.used, flat)
        self.known, self.used = self.known + len(words), self.used + len(flat)

    def _slots(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        mixed = low * np.uint64(0x9E3779B97F4A7C15) + high * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed ^= mixed >> np.uint64(32)
        mixed *= np.uint64(0xD6E8FEB86659FD93)
        return (mixed >> np.uint64(65 - len(self.table).bit_length())).astype(np.int64)


_LOW_MASK = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(17)], np.uint64)
_HIGH_MASK = np.array([(1 << 8 * min(max(n - 8, 0), 7)) - 1 for n in range(17)], np.uint64)


def _keys(raw: bytes, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two integers [words] that tell words of up to 15 bytes apart: their bytes, and their length on top.

    Longer words get the length 16, which no word in the table has. PADDING bytes follow the words.
    """
    eight_bytes = np.ndarray((len(raw) - 7,), "<u8", buffer=raw, strides=(1,))
    short = np.minimum(lengths, _LONGEST + 1)
    low = eight_bytes[starts] & _LOW_MASK[short]
    high = (eight_bytes[starts + 8] & _HIGH_MASK[short]) | (short.astype(np.uint64) << np.uint64(56))
    return low, high


def _extended(values: np.ndarray, used: int, more: np.ndarray) -> np.ndarray:
    """Return `values` [n] with `more` from position `used` on; a copy, twice as long, if there is no room."""
    need = used + len(more)
    if need > len(values):
        values = np.concatenate((values, np.zeros(max(need, len(values)), values.dtype)))
    values[used:need] = more
    return values
