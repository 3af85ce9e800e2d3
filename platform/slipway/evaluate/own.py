"""A family's own evaluation of its models (slipway.models.evaluation), as a measurement."""

from dataclasses import dataclass
from typing import Any

from slipway.config.schema import RunConfig
from slipway.evaluate.measurement import Subject, Tell
from slipway.models.evaluation import Evaluation, Result
from slipway.runs.alone import whole


@dataclass(frozen=True)
class Own:
    """A Measurement that the family itself carries out."""

    config: RunConfig
    evaluation: Evaluation

    @property
    def title(self) -> str:
        """The family's name; the result brings a title that says more."""
        return f"evaluation of model.family={self.config.model.family}"

    @property
    def settings(self) -> dict[str, Any]:
        """The family and the precision; this measurement has no options."""
        return {"measured": f"family {self.config.model.family}", "precision": self.config.training.precision}

    def of(self, subject: Subject, tell: Tell) -> Result:
        """Let the family evaluate the model, and return its result with the settings."""
        model, here = whole(subject.rank), subject.world
        found = self.evaluation.evaluate(self.config, subject.step, model, here.untrained, here.device)
        return found.model_copy(update={"settings": self.settings})
