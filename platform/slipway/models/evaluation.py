"""The interface of a family's evaluation for `slipway evaluate`: `EVALUATION` in its module `evaluation`, if any."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from slipway.config.schema import RunConfig

if TYPE_CHECKING:
    import torch


class Score(BaseModel):
    """The measurements of one thing: several if chance takes part."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    what: str
    """The thing that was measured: the trained model, or what it is compared with."""
    measure: str
    """The name of the measure, for example `mIoU`."""
    values: list[float] = Field(min_length=1)
    """One value for each repetition."""

    @property
    def mean(self) -> float:
        """The mean of the values."""
        return sum(self.values) / len(self.values)

    @property
    def in_words(self) -> str:
        """The mean, and the range of the values if there are several."""
        if len(self.values) == 1:
            return f"{self.mean:.4g}"
        return f"{self.mean:.4f} ({min(self.values):.4f} to {max(self.values):.4f})"


class Result(BaseModel):
    """The result of an evaluation of one checkpoint, stored as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """The name of the evaluation in file names."""
    title: str
    """The name of the evaluation for people."""
    step: int
    scores: list[Score] = Field(min_length=1)
    headline: str | None = None
    """The entry of `scores` to report when there is room for only one; None: the last."""
    how: str
    """The method and the definition of the measures, in sentences."""
    facts: dict[str, Any] = {}
    """Further results for programs, as JSON."""
    settings: dict[str, Any] = {}
    """The settings of the evaluation, as JSON: the same settings on the same checkpoint need not be measured again."""
    checkpoint: str | None = None
    """SHA-256 of the checkpoint's manifest; None: the weights were evaluated during training."""

    def rows(self) -> list[list[str]]:
        """Return a table: the column names first, then a row for each thing with a column for each measure."""
        measures = list(dict.fromkeys(score.measure for score in self.scores))
        found = {(score.what, score.measure): score.in_words for score in self.scores}
        things = list(dict.fromkeys(score.what for score in self.scores))
        return [
            ["", *measures],
            *([what, *(found.get((what, one), "") for one in measures)] for what in things),
        ]


class Evaluation(Protocol):
    """A family's evaluation of its models."""

    def check(self, config: RunConfig) -> None:
        """Raise UserError, before a model is loaded, if the run cannot be evaluated. Imports no torch."""
        ...

    def evaluate(
        self,
        config: RunConfig,
        step: int,
        model: "torch.nn.Module",
        untrained: "Callable[[int], torch.nn.Module]",
        device: "torch.device",
    ) -> Result:
        """Evaluate the whole model, which is in evaluation mode on the device, without gradients; return the result.

        config: the run's, for one process. untrained: returns the same model as it is before the first step, for a
        seed.
        """
        ...
