"""The evaluation of the model while it trains: on the validation split, and on files."""

from pydantic import Field, NonNegativeInt, PositiveInt

from slipway.config.section import Section


class Validation(Section):
    """Loss on the validation split."""

    interval: NonNegativeInt = Field(
        description="Steps between validations; 0: validate only before and after training."
    )
    steps: NonNegativeInt = Field(description="Global batches of each validation; 0: do not validate.")


class Evaluation(Section):
    """Perplexity and bits per byte on files during training, from the current weights, on the training's ranks."""

    interval: NonNegativeInt = Field(
        default=0,
        description="Steps between evaluations, with one more after the last step; 0: do not evaluate.",
    )
    files: list[str] = Field(
        default=[],
        description="Files, folders or patterns of text, JSON lines or Parquet, also .gz and .zst. Every rank "
        "keeps their tokens in memory.",
    )
    text_key: str = Field(
        default="text", description="Field (JSON lines) or column (Parquet) that holds the text."
    )
    stride: PositiveInt | None = Field(
        default=None,
        description="Tokens by which the window of data.sequence_length moves; null: the whole window.",
    )
    limit: PositiveInt | None = Field(
        default=None, description="Most documents read from each entry of files; null: all."
    )
    end_marks: bool = Field(default=False, description="Count the loss of the end mark after each document.")
