"""Byte-level BPE by a memory of words."""

from collections.abc import Sequence
from itertools import accumulate, count
from typing import Any

import numpy as np

from slipway.data.text.fast_bpe.characters import END, PADDING
from slipway.data.text.fast_bpe.rewriting import MOST_ADDED, AddedTokens, to_nfc
from slipway.data.text.fast_bpe.splitting import find_splitter
from slipway.data.text.fast_bpe.word_memory import WordMemory
from slipway.data.text.long_documents import can_be_cut, steps
from slipway.data.text.tokenizer import BYTE_LETTERS

_LETTERS = np.array([ord(BYTE_LETTERS[byte]) for byte in range(256)], "<u4")
"""The letter that stands for each byte in a vocabulary."""


def why_slow(parts: dict[str, Any]) -> str | None:
    """Return why WordEncoder cannot encode as a tokenizer.json, given as JSON, says; None if it can."""
    if find_splitter(parts["pre_tokenizer"]) is None:
        return "its pre_tokenizer is none of those whose words are known"
    normalizers = [one["type"] for one in steps(parts["normalizer"], "normalizers")]
    if normalizers not in ([], ["NFC"]):
        return f"its normalizer is {', '.join(normalizers)}; known is NFC"
    for token in _looked_for(parts):
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            return f"its added token {token['content']!r} looks at what is around it"
        if token["normalized"] and not token["content"].isascii():
            return f"its added token {token['content']!r} is not ASCII"
    if len(_looked_for(parts)) > MOST_ADDED:
        return f"it has more than {MOST_ADDED} added tokens that are not special"
    return None


def _looked_for(parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [token for token in parts["added_tokens"] if not token["special"]]


class WordEncoder:
    """Byte-level BPE by a memory of words: the tokenizer itself only sees words that are new.

    Exact, since merges never cross a word's borders.
    """

    def __init__(
        self,
        tokenizer: Any,
        parts: dict[str, Any],
        end_of_document: int,
        dtype: type,
        most_words: int = 1 << 19,
    ) -> None:
        """Take a tokenizers.Tokenizer, and begin with no known words.

        parts: the same tokenizer as JSON, for which why_slow returns None.
        """
        self.cuttable = can_be_cut(parts)
        self.model = tokenizer.model
        splitter = find_splitter(parts["pre_tokenizer"])
        assert splitter is not None
        self.splitter = splitter
        self.normalizer = tokenizer.normalizer
        added, numbers = parts["added_tokens"], count()
        self.of_text = AddedTokens([token for token in added if not token["normalized"]], numbers)
        self.of_normal_form = AddedTokens([token for token in added if token["normalized"]], numbers)
        ids = {bytes([END]): end_of_document, **self.of_text.ids, **self.of_normal_form.ids}
        self.memory = WordMemory(self._tokens_of_words, dtype, most_words)
        self.memory.remember(list(ids), [[number] for number in ids.values()])

    def encode(self, documents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Return tokens [tokens] and their count in each document [documents], as Encoder.encode does."""
        raw = self.of_text.replace(b"\xff".join([*documents, b"\xff" * PADDING]))
        if self.normalizer is not None:
            raw = to_nfc(raw, self.normalizer.normalize_str)
        raw = self.of_normal_form.replace(raw)
        batch = np.frombuffer(raw, np.uint8)[:-PADDING]
        starts = self.splitter.word_starts(batch)
        tokens, ends = self.memory.encode(raw, starts)
        document_ends = ends[batch[starts] == END]
        return tokens, np.diff(document_ends, prepend=0).astype(np.int32)

    def _tokens_of_words(self, words: list[bytes]) -> list[list[int]]:
        # a word is not to be cut again, so the model can be asked without what surrounds it
        letters = _LETTERS[np.frombuffer(b"".join(words), np.uint8)].tobytes().decode("utf-32-le")
        ends = list(accumulate(map(len, words)))
        tokenize = self.model.tokenize
        spans = zip([0, *ends], ends, strict=False)
        return [[token.id for token in tokenize(letters[start:stop])] for start, stop in spans]
