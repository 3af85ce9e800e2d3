"""What a family whose models read and write text offers `slipway generate` and `evaluate`: `TEXT` in its module `text`.

The tokens are those of the run's tokenizer (slipway.data.text.vocabulary); what is done with a model's logits, here or
in an evaluation, knows no family.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from slipway.config.schema import RunConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Reach(NamedTuple):
    """How long a text a model can read, in tokens."""

    known: int
    """What it was made for: beyond, it meets positions that training has not shown it."""
    most: int | None
    """What it can compute; None: any number."""


class Reading(Protocol):
    """Texts that a model reads on, token by token, without computing again what it has read: keys and values are kept.

    All rows have read as many tokens. Texts of different lengths read what they have in common of their lengths, and
    then a token at a time: the longer ones their own, the others what they were made to say.
    """

    def read(self, tokens: "Tensor") -> "Tensor":
        """Read the next tokens of each row, int64 [b, n]; return the logits of what follows, fp32 [b, vocab_size].

        More than one token at a time only at the beginning. Not beyond the length that was asked for.
        """
        ...


class TextModel(Protocol):
    """A whole model in one process, in evaluation mode; nothing asks for gradients."""

    vocab_size: int
    """Tokens that it gives logits for: those of the tokenizer, not the rows that an embedding is padded to."""
    device: "torch.device"
    """Where tokens are expected and logits are given."""

    def logits(self, tokens: "Tensor") -> "Tensor":
        """Return the logits of what follows each token, fp32 [b, s, vocab_size], of texts of int64 [b, s]."""
        ...

    def begin(self, rows: int, length: int) -> Reading:
        """Begin so many texts of at most so many tokens; takes the memory of their keys and values."""
        ...


class Text(Protocol):
    """A family whose models read and write text."""

    def reach(self, config: RunConfig) -> Reach:
        """Return how long a text the configured model can read. Imports no torch."""
        ...

    def model(self, config: RunConfig, module: "torch.nn.Module", device: "torch.device") -> TextModel:
        """Return a built model's use. module: of slipway.runs.alone, whose config is given. Imports torch."""
        ...
