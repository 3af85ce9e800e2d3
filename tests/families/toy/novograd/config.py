"""The fields of conf/optimizer/novograd.yaml."""

from typing import Literal

from slipway.config.section import OptimizerSection


class Config(OptimizerSection):
    name: Literal["novograd"] = "novograd"
    beta1: float = 0.9
    beta2: float = 0.5
    eps: float = 1e-8
