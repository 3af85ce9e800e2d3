"""What a family whose models read and write text offers to `slipway generate` and `evaluate`: `TEXT` in `text`.

The tokens are those of the run's tokenizer (slipway.data.text.vocabulary). The code that uses a model's logits, here or
in an evaluation, knows no family.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from slipway.config.schema import RunConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Reach(NamedTuple):
    """How long a text can be that a model reads, in tokens."""

    known: int
    """The length that it was made for: beyond it, training has shown it no positions."""
    most: int | None
    """The length that it can compute; None: any."""


class Reading(Protocol):
    """Texts that a model reads token by token; keys and values are kept, so that it computes nothing twice.

    All rows have read equally many tokens. Texts of different lengths first read as many tokens as the shortest has,
    and then a token at a time: the longer ones their own, the others those that were generated.
    """

    def read(self, tokens: "Tensor") -> "Tensor":
        """Read the next tokens of each row, int64 [b, n].

        Return the logits of the token after them, fp32 [b, vocab_size].

        More than one token at a time only at the beginning, and never beyond the length given to TextModel.begin.
        """
        ...


class TextModel(Protocol):
    """A whole model in one process, in evaluation mode, used without gradients."""

    vocab_size: int
    """Tokens that it gives logits for: those of the tokenizer, not the rows that pad an embedding."""
    device: "torch.device"
    """The device of its tokens and logits."""

    def logits(self, tokens: "Tensor") -> "Tensor":
        """Return the logits of the token after each token, fp32 [b, s, vocab_size], for texts, int64 [b, s]."""
        ...

    def begin(self, rows: int, length: int) -> Reading:
        """Return a reading of so many texts of at most so many tokens; allocates memory for their keys and values."""
        ...


class Text(Protocol):
    """A family whose models read and write text."""

    def reach(self, config: RunConfig) -> Reach:
        """Return how long a text the configured model can read. Imports no torch."""
        ...

    def model(self, config: RunConfig, module: "torch.nn.Module", device: "torch.device") -> TextModel:
        """Return a built model as a TextModel. Imports torch.

        module: from slipway.runs.alone, whose config is given.
        """
        ...
