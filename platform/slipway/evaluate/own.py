"""What a family itself finds out of its models (slipway.models.evaluation), as a measurement."""

from dataclasses import dataclass
from typing import Any

from slipway.config.schema import RunConfig
from slipway.evaluate.measurement import Subject, Tell
from slipway.models.evaluation import Evaluation, Result
from slipway.runs.alone import whole


@dataclass(frozen=True)
class Own:
    """See slipway.evaluate.measurement.Measurement."""

    config: RunConfig
    evaluation: Evaluation

    @property
    def title(self) -> str:
        """By the family, which tells more with the result."""
        return f"evaluation of model.family={self.config.model.family}"

    @property
    def settings(self) -> dict[str, Any]:
        """It asks for nothing."""
        return {"measured": f"family {self.config.model.family}", "precision": self.config.training.precision}

    def of(self, subject: Subject, tell: Tell) -> Result:
        """Hand the model to the family."""
        model, here = whole(subject.rank), subject.world
        found = self.evaluation.evaluate(self.config, subject.step, model, here.untrained, here.device)
        return found.model_copy(update={"settings": self.settings})
