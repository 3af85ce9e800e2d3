"""Documents cut into windows, on which a model's loss is measured. No torch.

A document of n tokens is read after an end mark, as training reads it. The first window predicts the first
min(n, context) tokens. Each later one predicts the next `stride` tokens, or what is left, and sees as many tokens
before them as the context has room for. So every token is predicted once; with a stride as long as the context these
are the windows of lm-evaluation-harness's loglikelihood_rolling (lm_eval.utils.get_rolling_token_windows).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

_SPACE = re.compile(r"\s+")


def windows(tokens: int, context: int, stride: int) -> np.ndarray:
    """Return the windows of a document of so many tokens: [windows, 3] int64, with columns start, first, stop.

    A window reads the tokens before start + 1 .. stop (the end mark before the document is the first of them) and
    predicts tokens start + 1 .. stop, of which those from first + 1 on count.
    """
    if not tokens:
        return np.empty((0, 3), np.int64)
    later = np.arange(context, tokens, stride)
    first = np.concatenate([np.zeros(1, np.int64), later])
    stop = np.concatenate([np.minimum(context, tokens)[None], np.minimum(later + stride, tokens)])
    return np.stack([np.maximum(0, stop - context), first, stop], axis=1)


@dataclass
class Text:
    """Documents as tokens, one after the other, and the amount of text in them."""

    what: str
    tokens: np.ndarray
    """The tokens of all documents, each with the end mark after it."""
    lengths: np.ndarray
    """Tokens of each document, the end mark included, [documents]."""
    bytes: int = 0
    """Bytes of the text in UTF-8, without end marks."""
    words: int = 0
    """Stretches between white space, as lm-evaluation-harness counts them: len(re.split(r"\\s+", text))."""

    @property
    def digest(self) -> str:
        """The checksum of the tokens."""
        return sha256(np.ascontiguousarray(self.tokens, np.int32).tobytes()).hexdigest()


def count_words(text: str) -> int:
    """Return the number of words, counted as lm-evaluation-harness does."""
    return len(_SPACE.split(text))


@dataclass(frozen=True)
class Rules:
    """How documents are read."""

    length: int
    """Tokens of a training sample, which is the context."""
    stride: int
    end_mark: int
    """The end mark's token."""
    end_marks: bool
    """Whether the loss of end marks counts."""
    apart: bool
    """Whether samples say where documents begin (data.reset_attention_mask)."""


@dataclass
class Passages:
    """A HeldOut (see slipway.data.held_out) whose samples are windows of one document each."""

    text: Text
    rules: Rules
    _samples: np.ndarray = field(init=False, repr=False)
    """[windows, 4]: a document's first token in `text.tokens`, start, first, stop; the longest come first."""

    def __post_init__(self) -> None:
        rules, lengths = self.rules, self.text.lengths.astype(np.int64)
        begins = np.cumsum(lengths) - lengths
        found = []
        for begin, length in zip(begins.tolist(), (lengths - (not rules.end_marks)).tolist(), strict=True):
            cut = windows(length, rules.length, rules.stride)
            found.append(np.concatenate([np.full((len(cut), 1), begin), cut], axis=1))
        every = np.concatenate(found) if found else np.empty((0, 4), np.int64)
        self._samples = every[np.argsort(every[:, 1] - every[:, 3], kind="stable")]

    @property
    def what(self) -> str:
        """The entry's name."""
        return self.text.what

    @property
    def on_host(self) -> frozenset[str]:
        """The fields that stay on the CPU: no GPU reads where documents begin."""
        return frozenset({"document_starts"})

    @property
    def predicted(self) -> int:
        """Tokens whose loss counts."""
        return int((self._samples[:, 3] - self._samples[:, 2]).sum())

    @property
    def facts(self) -> Mapping[str, Any]:
        """The amounts, and the checksum of the tokens."""
        text = self.text
        return {
            "documents": len(text.lengths),
            "tokens": self.predicted,
            "bytes": text.bytes,
            "words": text.words,
            "sha256 of tokens": text.digest,
        }

    def __len__(self) -> int:
        return len(self._samples)

    def batch(self, numbers: Sequence[int], rows: int, cut: bool) -> dict[str, np.ndarray]:
        """Return tokens, labels, position_ids [rows, length] int64 and loss_mask fp32; behind a window they are 0.

        If documents are kept apart, also document_starts: a document includes the end mark before it.
        """
        chosen = self._samples[list(numbers)].tolist()
        width = max(stop - start for _, start, _, stop in chosen) if cut else self.rules.length
        shape = (rows, width)
        tokens = np.full(shape, self.rules.end_mark, np.int64)
        labels, mask = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        for row, (begin, start, first, stop) in enumerate(chosen):
            size, seen = stop - start, self.text.tokens[begin + start : begin + stop]
            labels[row, :size] = seen
            tokens[row, 1:size] = seen[:-1]
            if start:
                tokens[row, 0] = self.text.tokens[begin + start - 1]
            mask[row, first - start : size] = 1
        fields = {"tokens": tokens, "labels": labels, "loss_mask": mask}
        fields["position_ids"] = np.tile(np.arange(width), (rows, 1))
        if self.rules.apart:
            fields["document_starts"] = np.zeros(shape, np.int64)
        return fields


def measures(loss: float, tokens: int, text_bytes: int, words: int) -> dict[str, float]:
    """Return measures of a sum of losses (nats) over text: e^(loss / tokens), loss / bytes / ln 2, ...

    bits_per_byte, byte_perplexity and word_perplexity are those of lm_eval.api.metrics. A measure that is too large for
    a float is left out.
    """
    found = {}
    for name, count in (("perplexity", tokens), ("byte_perplexity", text_bytes), ("word_perplexity", words)):
        if count and loss / count < math.log(1e300):
            found[name] = math.exp(loss / count)
        if name == "perplexity" and text_bytes:
            found["bits_per_byte"] = loss / text_bytes / math.log(2)
    return found
