"""Data whose samples are sequences of tokens, of any kind, as families of such models see it.

Samples have the fields tokens, labels, position_ids (int64) and loss_mask (fp32), each [sequence_length], and if
documents are kept apart document_starts (int64): the position of the first token of each token's document.
"""

from abc import abstractmethod

from pydantic import Field, PositiveInt

from slipway.config.schema import RunConfig
from slipway.config.section import DataSection, Folder


class TokenSection(DataSection):
    """Sequences of tokens, prepared into a folder."""

    dir: Folder = Field(
        description="Folder of the prepared data: manifest.json, tokenizer.json and files of each source."
    )
    sequence_length: PositiveInt = Field(description="Tokens per sample.")

    @property
    @abstractmethod
    def apart(self) -> str:
        """The override that lets tokens see only their own document; empty if they see others."""


def tokens_of(config: RunConfig) -> TokenSection:
    """Return the section `data` of a run that reads sequences of tokens."""
    assert isinstance(config.data, TokenSection), f"data.kind is {config.data.kind}"
    return config.data
