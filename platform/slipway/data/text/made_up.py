"""Samples of random tokens, to measure with. Imports torch."""

from torch import Tensor, from_numpy

from slipway.data.ledger import Draw
from slipway.data.randomness import generator
from slipway.data.text.config import Config as Data
from slipway.data.text.dataset import Dataset

DOCUMENTS = 4  # of one sample, of equal length
END = 0


class MadeUp(Dataset):
    """A dataset of random tokens (see slipway.data.kind.MadeUp)."""

    def __init__(self, settings: Data, seed: int) -> None:
        super().__init__({}, settings.sequence_length, settings, END)
        self.seed = seed

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        """Return a sample like one of prepared text: any tokens of the vocabulary, and ends of documents."""
        length, entries = self.settings.sequence_length, self.settings.tokenizer.vocab_size
        assert entries, "data.tokenizer.vocab_size is the model's, see slipway.data.kind.MadeUp.unlimited"
        text = generator(self.seed, "training", draw).integers(END + 1, entries, length + 1)
        stride = max(1, length // DOCUMENTS)
        text[stride - 1 :: stride] = END
        return self.sample(from_numpy(text))
