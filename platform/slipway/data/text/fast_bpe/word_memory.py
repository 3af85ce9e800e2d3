"""Byte-level BPE by a memory of words."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from slipway.data.text.fast_bpe.words import END, PADDING, word_starts
from slipway.data.text.tokenizer import BYTE_LETTERS


class WordEncoder:
    """Byte-level BPE by a memory of words: the tokenizer itself only sees words that are new.

    Exact, since merges never cross a word's borders. A word of up to 15 bytes is its own key (two integers)
    in an open-addressing table that a whole batch is looked up in at once; longer ones are in a dictionary.
    """

    cuttable = True

    def __init__(self, tokenizer: Any, end_of_document: int, dtype: type, slots_log2: int = 20) -> None:
        self.model = tokenizer.model
        self.shift = np.uint64(64 - slots_log2)
        slots = 1 << slots_log2
        self.last_slot = slots - 1
        self.most_words = slots // 2  # beyond half full, probing gets long
        self.low = np.zeros(slots, np.uint64)
        self.high = np.zeros(slots, np.uint64)  # 0: the slot is free
        self.word_of_slot = np.zeros(slots, np.int32)
        self.long_words: dict[bytes, int] = {}
        self.known = 0
        # Word w is tokens[offsets[w] : offsets[w] + counts[w]].
        self.tokens = np.zeros(0, dtype)
        self.offsets = np.zeros(0, np.int64)
        self.counts = np.zeros(0, np.int32)
        self._remember([bytes([END])], [[end_of_document]])

    def encode(self, documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """See Encoder."""
        raw = b"\xff".join([*documents, b"\xff" * PADDING])
        padded = np.frombuffer(raw, np.uint8)
        batch = padded[: len(padded) - PADDING]
        starts = word_starts(batch)
        lengths = np.diff(starts, append=len(batch))
        words = self._look_up(padded, starts, lengths)
        unknown = np.flatnonzero(words < 0)
        extra = self._learn(raw, starts, lengths, words, unknown) if len(unknown) else None

        tokens, offsets, counts = extra or (self.tokens, self.offsets, self.counts)
        counts_here = counts[words]
        ends = np.cumsum(counts_here, dtype=np.int64)
        where = np.repeat(offsets[words] - (ends - counts_here), counts_here)
        where += np.arange(len(where))
        document_ends = ends[batch[starts] == END]
        return tokens[where], np.diff(document_ends, prepend=0).astype(np.int32)

    def _look_up(self, padded: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Numbers [words] of the words in the memory, -1 where not there."""
        low, high = _keys(padded, starts, lengths)
        slots = self._slots(low, high)
        found = (self.low[slots] == low) & (self.high[slots] == high)
        words = np.where(found, self.word_of_slot[slots], -1)
        rest = np.flatnonzero(~found)
        while len(rest):
            rest = rest[self.high[slots[rest]] != 0]
            slots[rest] = (slots[rest] + 1) & self.last_slot
            here = slots[rest]
            found = (self.low[here] == low[rest]) & (self.high[here] == high[rest])
            words[rest[found]] = self.word_of_slot[here[found]]
            rest = rest[~found]
        return words

    def _learn(
        self, raw: bytes, starts: np.ndarray, lengths: np.ndarray, words: np.ndarray, unknown: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fill in the unknown words; returns tokens, offsets and counts that hold them all."""
        spans = zip(starts[unknown].tolist(), (starts + lengths)[unknown].tolist(), strict=True)
        texts = [raw[start:stop] for start, stop in spans]
        seen: dict[bytes, int] = {}
        for text in texts:
            seen[text] = seen.get(text, 0) + 1
        new = [text for text in seen if text not in self.long_words]
        encoded = self._encode_words(new)
        # Once half of the memory is used, a word earns its place by occurring twice in a batch.
        picky = self.known > self.most_words // 2
        keep = [not picky or seen[text] > 1 for text in new]
        room = self.most_words - self.known
        kept = [i for i, good in enumerate(keep) if good][:room]
        self._remember([new[i] for i in kept], [encoded[i] for i in kept])

        left = sorted(set(range(len(new))) - set(kept))
        numbers = {new[i]: self.known - len(kept) + n for n, i in enumerate(kept)}
        numbers.update({new[i]: self.known + n for n, i in enumerate(left)})
        words[unknown] = [numbers[text] if text in numbers else self.long_words[text] for text in texts]
        return _append(self.tokens, self.offsets, self.counts, [encoded[i] for i in left])

    def _encode_words(self, words: list[bytes]) -> list[list[int]]:
        # a word is not to be cut again, so the model can be asked without what surrounds it
        letters = [word.decode("latin-1").translate(BYTE_LETTERS) for word in words]
        return [[token.id for token in self.model.tokenize(word)] for word in letters]

    def _remember(self, words: list[bytes], encoded: list[list[int]]) -> None:
        first = self.known
        self.tokens, self.offsets, self.counts = _append(self.tokens, self.offsets, self.counts, encoded)
        self.known += len(words)
        raw = b"".join(words) + b"\xff" * PADDING
        lengths = np.array([len(word) for word in words], np.int64)
        low, high = _keys(np.frombuffer(raw, np.uint8), np.cumsum(lengths) - lengths, lengths)
        slots = self._slots(low, high).tolist()
        for i, word in enumerate(words):
            if len(word) > 15:
                self.long_words[word] = first + i
                continue
            slot = slots[i]
            while self.high[slot]:
                slot = (slot + 1) & self.last_slot
            self.low[slot], self.high[slot], self.word_of_slot[slot] = low[i], high[i], first + i

    def _slots(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        mixed = low * np.uint64(0x9E3779B97F4A7C15) + high * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed ^= mixed >> np.uint64(32)
        mixed *= np.uint64(0xD6E8FEB86659FD93)
        return (mixed >> self.shift).astype(np.int64)


_LOW_MASK = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(17)], np.uint64)
_HIGH_MASK = np.array([(1 << 8 * min(max(n - 8, 0), 7)) - 1 for n in range(17)], np.uint64)


def _keys(padded: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two integers [words] that tell words of up to 15 bytes apart: their bytes, and their length on top.

    Longer words get the length 16, which no word in the table has.
    """
    assert padded.flags.c_contiguous and len(padded) >= PADDING
    eight_bytes = np.ndarray((len(padded) - 7,), "<u8", buffer=padded, strides=(1,))
    short = np.minimum(lengths, 16)
    low = eight_bytes[starts] & _LOW_MASK[short]
    high = (eight_bytes[starts + 8] & _HIGH_MASK[short]) | (short.astype(np.uint64) << np.uint64(56))
    return low, high


def _append(
    tokens: np.ndarray, offsets: np.ndarray, counts: np.ndarray, encoded: list[list[int]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words' arrays with more words at their end."""
    if not encoded:
        return tokens, offsets, counts
    more = np.array([len(ids) for ids in encoded], np.int32)
    begin = len(tokens) + np.cumsum(more, dtype=np.int64) - more
    flat = np.array([token for ids in encoded for token in ids], tokens.dtype)
    return (
        np.concatenate((tokens, flat)),
        np.concatenate((offsets, begin)),
        np.concatenate((counts, more)),
    )
