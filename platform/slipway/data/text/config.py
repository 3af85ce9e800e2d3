"""The fields of conf/data/*.yaml for the kind `text`."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from slipway.config.schema import RunConfig
from slipway.config.section import Folder, Section, SourceName, SourceSection
from slipway.data.tokens import TokenSection


class Tokenizer(Section):
    """The tokenizer of text."""

    kind: Literal["bpe", "byte", "file"] = Field(
        default="bpe",
        description="Kind of tokenizer. bpe is trained on the sources; byte takes UTF-8 bytes and an end mark; "
        "file is a tokenizer.json.",
    )
    vocab_size: PositiveInt = Field(default=8192, description="Entries of the vocabulary to train (bpe).")
    path: Path | None = Field(default=None, description="Path of the tokenizer.json to use (file).")
    end_of_document: str = Field(
        default="<|endoftext|>", description="Token put after each document (file, bpe)."
    )


class Source(SourceSection):
    """One source of documents."""

    inputs: list[str] = Field(
        min_length=1,
        description="Files or folders; `stdlib` is the source code of Python's standard library.",
    )
    text_key: str = Field(
        default="text", description="Field (JSON lines) or column (Parquet) that holds the text."
    )


class Config(TokenSection):
    """Text sources, prepared by `slipway data` into dir, read by training."""

    kind: Literal["text"] = Field(
        default="text",
        description="Kind of tokenizer. bpe is trained on the sources; byte takes UTF-8 bytes and an end mark; "
        "file is a tokenizer.json.",
    )
    dir: Folder = Field(
        description="Folder of the prepared data: tokenizer.json, manifest.json and SOURCE.bin/.idx of each "
        "source."
    )
    tokenizer: Tokenizer = Tokenizer()
    sources: dict[SourceName, Source] = Field(
        min_length=1, description="Sources by name; their prepared files carry the same name."
    )
    split: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat] = Field(
        default=(0.98, 0.01, 0.01), description="Shares of the documents for training, validation and test."
    )
    reset_attention_mask: bool = Field(
        default=False,
        description="Let tokens attend only to their own document, not to those before it in their sample.",
    )
    reset_position_ids: bool = Field(
        default=False, description="Restart learned positions with each document."
    )
    eod_mask_loss: bool = Field(
        default=False, description="Exclude the token that follows the end of a document from the loss."
    )
    workers: PositiveInt | None = Field(
        default=None, description="Processes that prepare data; null: one per core."
    )

    @property
    def apart(self) -> str:
        """The override that keeps documents apart; empty if it is not set (see slipway.data.tokens.TokenSection)."""
        return "data.reset_attention_mask=true" if self.reset_attention_mask else ""


def text_of(config: RunConfig) -> Config:
    """Return the section `data` of a run that reads text."""
    assert isinstance(config.data, Config), f"data.kind is {config.data.kind}"
    return config.data
