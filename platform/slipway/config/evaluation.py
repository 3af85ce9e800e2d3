"""The evaluation of the model while it trains: on the validation split, and on files."""

from pydantic import Field, NonNegativeInt, PositiveInt

from slipway.config.section import Section


class Validation(Section):
    """Loss on the validation split."""

    interval: NonNegativeInt = Field(
        description="Steps between validations; 0: only before and after training."
    )
    steps: NonNegativeInt = Field(description="Global batches per validation; 0: none.")


class Evaluation(Section):
    """Perplexity and bits per byte on files during training, from the current weights, on the training's ranks."""

    interval: NonNegativeInt = Field(
        default=0, description="Steps between evaluations, one after the last step besides; 0: none."
    )
    files: list[str] = Field(
        default=[],
        description="Text, JSON lines or Parquet, also .gz and .zst: files, folders, patterns; every rank keeps their "
        "tokens in memory.",
    )
    text_key: str = Field(
        default="text", description="Field (JSON lines) or column (Parquet) that holds the text."
    )
    stride: PositiveInt | None = Field(
        default=None,
        description="Tokens that each window of data.sequence_length adds; null: as many as it has.",
    )
    limit: PositiveInt | None = Field(
        default=None, description="Documents of each entry of files at most; null: all."
    )
    end_marks: bool = Field(default=False, description="Count the loss of the mark after each document.")
