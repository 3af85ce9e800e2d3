"""The settings of Muon."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from slipway.config.section import OptimizerSection


class Config(OptimizerSection):
    """Muon for hidden matrices, AdamW for all other parameters. Biases and norms are not decayed."""

    name: Literal["muon"] = Field(default="muon", description="The algorithm.")
    momentum: float = Field(default=0.95, gt=0.0, lt=1.0, description="Decay of the matrices' momentum.")
    nesterov: bool = Field(default=True, description="Use Nesterov momentum, which looks one step ahead.")
    ns_steps: PositiveInt = Field(
        default=5, lt=100, description="Newton-Schulz iterations that orthogonalize the momentum."
    )
    adjust_lr_fn: Literal["original", "match_rms_adamw"] = Field(
        default="match_rms_adamw",
        description="What multiplies the learning rate of a matrix: original: sqrt(max(1, rows / columns)); "
        "match_rms_adamw: 0.2 sqrt(max(rows, columns)), so that AdamW's rate and weight decay fit.",
    )
    adamw_lr: PositiveFloat | None = Field(
        default=None,
        description="Peak learning rate of all other parameters, with the same schedule; null: lr.",
    )
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0, description="Decay of AdamW's first moment.")
    beta2: float = Field(default=0.95, ge=0.0, lt=1.0, description="Decay of AdamW's second moment.")
    eps: PositiveFloat = Field(
        default=1e-8, description="Epsilon that AdamW adds to the root of the second moment."
    )
