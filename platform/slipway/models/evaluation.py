"""What a family offers `slipway evaluate`: `EVALUATION` in the module `evaluation` of its package, if it has one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from slipway.config.schema import RunConfig

if TYPE_CHECKING:
    import torch


class Score(BaseModel):
    """What was measured of one thing, several times where chance takes part."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    what: str
    """What was measured: the trained model, or what it is compared with."""
    measure: str
    """Its name: `mIoU`."""
    values: list[float] = Field(min_length=1)
    """One for each repetition."""

    @property
    def mean(self) -> float:
        """Of the values."""
        return sum(self.values) / len(self.values)

    @property
    def in_words(self) -> str:
        """The mean, and between which values it lies."""
        if len(self.values) == 1:
            return f"{self.mean:.4g}"
        return f"{self.mean:.4f} ({min(self.values):.4f} to {max(self.values):.4f})"


class Result(BaseModel):
    """What an evaluation has found of one checkpoint; kept as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Of the evaluation, in names of files."""
    title: str
    """Of the evaluation, for people."""
    step: int
    scores: list[Score] = Field(min_length=1)
    headline: str | None = None
    """The thing of `scores` that is told where there is room for one only; None: the last."""
    how: str
    """What was done, and by which rules the measures count, in sentences."""
    facts: dict[str, Any] = {}
    """What else a program may want to know, as JSON."""
    settings: dict[str, Any] = {}
    """What was asked for, as JSON: the same settings on the same checkpoint need not be measured again."""
    checkpoint: str | None = None
    """SHA-256 of the checkpoint's manifest; None: of the weights during training."""

    def rows(self) -> list[list[str]]:
        """Return a table: a line for each thing, a column for each measure, beginning with the columns' names."""
        measures = list(dict.fromkeys(score.measure for score in self.scores))
        found = {(score.what, score.measure): score.in_words for score in self.scores}
        things = list(dict.fromkeys(score.what for score in self.scores))
        return [
            ["", *measures],
            *([what, *(found.get((what, one), "") for one in measures)] for what in things),
        ]


class Evaluation(Protocol):
    """What a family finds out of a model."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError for what cannot be evaluated, before a model is loaded. Imports no torch."""
        ...

    def evaluate(
        self,
        config: RunConfig,
        step: int,
        model: "torch.nn.Module",
        untrained: "Callable[[int], torch.nn.Module]",
        device: "torch.device",
    ) -> Result:
        """Evaluate the whole model, which is in evaluation mode on the device; nothing asks for gradients.

        config: of the run, for one process. untrained: gives the same model as it is before the first step, by a seed.
        """
        ...
