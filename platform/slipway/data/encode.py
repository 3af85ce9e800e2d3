"""Documents to tokens, many at a time. What a document becomes does not depend on the others."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from slipway.data.words import END, PADDING, word_starts

LONGEST_PIECE = 1 << 20
"""Bytes that are handed to a tokenizer at once; longer documents are encoded in pieces."""


class Encoder(Protocol):
    """Encodes batches of documents with one tokenizer."""

    def encode(self, documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of all documents [tokens] and of each [documents], its end mark included.

        documents: valid UTF-8, not empty.
        """
        ...


def token_type(entries: int) -> type[np.unsignedinteger] | type[np.signedinteger]:
    """What a token is stored as: as Megatron-core's DType.optimal_dtype chooses for a vocabulary."""
    return np.uint16 if entries < 65500 else np.int32


def make_encoder(tokenizer: Any, end_of_document: int) -> Encoder:
    """The fastest encoder that gives what `tokenizer.encode(text, add_special_tokens=False)` gives.

    tokenizer: a tokenizers.Tokenizer. Special tokens that occur in the text are text.
    """
    dtype = token_type(tokenizer.get_vocab_size())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    if is_byte_level(tokenizer, end_of_document):
        return ByteEncoder()
    if cuts_gpt2_words(tokenizer):
        return WordEncoder(tokenizer, end_of_document, dtype)
    return PlainEncoder(tokenizer, end_of_document, dtype)


def cuts_gpt2_words(tokenizer: Any) -> bool:
    """Whether each word of GPT-2's pattern is encoded alone, so that it always gives the same tokens."""
    import json

    parts = json.loads(tokenizer.to_str())
    cut = parts["pre_tokenizer"] or {}
    return (
        parts["normalizer"] is None
        and cut.get("type") == "ByteLevel"
        and not cut["add_prefix_space"]
        and cut.get("use_regex", True)
        and not parts["model"].get("dropout")
        and all(token["special"] for token in parts["added_tokens"])
    )


def is_byte_level(tokenizer: Any, end_of_document: int) -> bool:
    """Whether tokens 0 to 255 are the bytes, and 256 the end mark."""
    from slipway.data.tokenizer import byte_tokenizer

    end = tokenizer.id_to_token(end_of_document)
    return tokenizer.get_vocab_size() == 257 and tokenizer.to_str() == byte_tokenizer(end).to_str()


class ByteEncoder:
    """Bytes as tokens 0 to 255, and 256 after each document."""

    def encode(self, documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """See Encoder."""
        batch = _join(documents)
        tokens = batch.astype(np.uint16)
        tokens[batch == END] = 256
        return tokens, np.array([len(document) + 1 for document in documents], np.int32)


class PlainEncoder:
    """Any tokenizer of the tokenizers library, by its own batch call."""

    def __init__(self, tokenizer: Any, end_of_document: int, dtype: type) -> None:
        self.tokenizer = tokenizer
        self.end = end_of_document
        self.dtype = dtype

    def encode(self, documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """See Encoder. Documents above LONGEST_PIECE are encoded in pieces that end where a line does."""
        pieces: list[str] = []
        counts: list[int] = []
        for document in documents:
            of_document = _pieces(document)
            pieces += of_document
            counts.append(len(of_document))
        encoded = [e.ids for e in self.tokenizer.encode_batch_fast(pieces, add_special_tokens=False)]
        tokens: list[int] = []
        lengths: list[int] = []
        position = 0
        for count in counts:
            before = len(tokens)
            for ids in encoded[position : position + count]:
                tokens += ids
            tokens.append(self.end)
            lengths.append(len(tokens) - before)
            position += count
        return np.array(tokens, self.dtype), np.array(lengths, np.int32)


class WordEncoder:
    """Byte-level BPE by a memory of words: the tokenizer itself only sees words that are new.

    Exact, since merges never cross a word's borders. A word of up to 15 bytes is its own key (two integers)
    in an open-addressing table that a whole batch is looked up in at once; longer ones are in a dictionary.
    """

    def __init__(self, tokenizer: Any, end_of_document: int, dtype: type, slots_log2: int = 20) -> None:
        self.tokenizer = tokenizer
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
        raw = b"".join([part for document in documents for part in (document, b"\xff")]) + b"\xff" * PADDING
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
        texts = [word.decode() for word in words]
        return [e.ids for e in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

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


def _join(documents: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join([part for document in documents for part in (document, b"\xff")]), np.uint8)


def _pieces(document: bytes) -> list[str]:
    """A document's text in pieces of about LONGEST_PIECE bytes, cut after a line where there is one."""
    pieces = []
    position = 0
    while len(document) - position > LONGEST_PIECE:
        stop = document.rfind(b"\n", position, position + LONGEST_PIECE) + 1
        if stop <= position:
            stop = position + LONGEST_PIECE
            while document[stop] & 0xC0 == 0x80:
                stop -= 1
        pieces.append(document[position:stop].decode())
        position = stop
    pieces.append(document[position:].decode())
    return pieces
