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
        self, tokenize: Callable[[list[bytes]], list[list[int]]], dtype: type, most_words: int = 1 << 19
    ) -> None:
        """Begin without words.

        tokenize: returns the tokens of each of some words, which are new. dtype: the type of tokens. most_words: how
        many are remembered.
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
        known, used = self.known, self.used
        if len(unknown := np.flatnonzero(words == 0)):
            is_long = lengths[unknown] > _LONGEST
            short, long = unknown[~is_long], _cut(raw, starts, lengths, unknown[is_long])
            same = _first_of_equals(low[short], high[short])
            first, occurrences = np.unique(same, return_counts=True)
            seen = {word: n for word, n in Counter(long).items() if word not in self.long_words}
            numbers, known, used = self._learn(
                [*_cut(raw, starts, lengths, short[first]), *seen], [*occurrences.tolist(), *seen.values()]
            )
            number_of = np.zeros(len(short), np.int64)
            number_of[first] = numbers[: len(first)]
            words[short] = number_of[same]
            new = dict(zip(seen, numbers[len(first) :], strict=True))
            words[unknown[is_long]] = [new.get(word) or self.long_words[word] for word in long]
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

    def _learn(self, new: list[bytes], seen: list[int]) -> tuple[list[int], int, int]:
        """Return the numbers of new words, and the values of `known` and `used` after this call.

        seen: how often each occurs in the batch.
        """
        order, kept = list(range(len(new))), len(new)
        if self.known > self.most_words // 2:
            # Now that half of the memory is used, a word earns its place by occurring twice in a batch.
            order.sort(key=lambda place: seen[place] == 1)
            kept = sum(count > 1 for count in seen)
        kept = max(0, min(kept, self.most_words - self.known))
        numbers = [0] * len(new)
        for number, place in enumerate(order, self.known):
            numbers[place] = number
        words = [new[place] for place in order]
        encoded = self.tokenize(words)
        self.remember(words[:kept], encoded[:kept])
        known, used = self.known, self.used
        self._append(words[kept:], encoded[kept:])
        return numbers, known, used

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
        return _slots(low, high, len(self.table))


def _slots(low: np.ndarray, high: np.ndarray, size: int) -> np.ndarray:
    """Return the places [words] at which a table of so many slots, a power of two, is searched for these keys first."""
    mixed = low * np.uint64(0x9E3779B97F4A7C15) + high * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    return (mixed >> np.uint64(65 - size.bit_length())).astype(np.int64)


def _first_of_equals(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return for each key the place [words] of one that equals it, the same place for all that are equal."""
    table = np.full(1 << (2 * len(low)).bit_length(), -1)
    slots, found, rest = _slots(low, high, len(table)), np.zeros(len(low), np.int64), np.arange(len(low))
    while len(rest):
        here = slots[rest]
        free = table[here] < 0
        table[here[free]] = rest[free]  # of those that meet in a slot, the last one has it
        owner = table[here]
        same = (low[owner] == low[rest]) & (high[owner] == high[rest])
        found[rest[same]] = owner[same]
        rest = rest[~same]
        slots[rest] = (slots[rest] + 1) & (len(table) - 1)
    return found


def _cut(raw: bytes, starts: np.ndarray, lengths: np.ndarray, which: np.ndarray) -> list[bytes]:
    """Return the words at these places [words]."""
    begins = starts[which]
    spans = zip(begins.tolist(), (begins + lengths[which]).tolist(), strict=True)
    return [raw[start:stop] for start, stop in spans]


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
