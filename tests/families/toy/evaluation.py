"""What `slipway evaluate` finds out of a toy: how far its outputs are from 1 where all its inputs are 1."""

from collections.abc import Callable

import torch

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.evaluation import Result, Score
from toy.config import toy_of


class Distance:
    def check(self, config: RunConfig) -> None:
        if toy_of(config).outputs > 8:
            raise UserError(
                "model.outputs", "is more than is looked at", value=toy_of(config).outputs, use="8"
            )

    def evaluate(
        self,
        config: RunConfig,
        step: int,
        model: torch.nn.Module,
        untrained: Callable[[int], torch.nn.Module],
        device: torch.device,
    ) -> Result:
        ones = torch.ones(1, 1, toy_of(config).inputs, device=device)

        def distance(model: torch.nn.Module) -> float:
            return (model(ones) - 1).abs().mean().item()

        return Result(
            name="distance",
            title="Distance from one",
            step=step,
            scores=[
                Score(what="trained", measure="distance", values=[distance(model)]),
                Score(
                    what="untrained", measure="distance", values=[distance(untrained(s)) for s in (1234, 2)]
                ),
            ],
            how="Inputs of one, mean over the outputs.",
        )


EVALUATION = Distance()
