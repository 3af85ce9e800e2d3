"""The settings of AdamW."""

from typing import Literal

from pydantic import Field, PositiveFloat

from slipway.config.section import OptimizerSection


class Config(OptimizerSection):
    """AdamW and its schedule. Biases and norms are not decayed."""

    name: Literal["adamw"] = Field(default="adamw", description="The algorithm.")
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0, description="Decay of the first moment.")
    beta2: float = Field(default=0.95, ge=0.0, lt=1.0, description="Decay of the second moment.")
    eps: PositiveFloat = Field(default=1e-8, description="Epsilon added to the root of the second moment.")
