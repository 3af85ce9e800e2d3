"""What a toy is: the fields of conf/model/toy.yaml."""

from typing import Literal

from pydantic import PositiveInt

from slipway.config.schema import RunConfig
from slipway.config.section import ModelSection


class Config(ModelSection):
    family: Literal["toy"] = "toy"
    inputs: PositiveInt
    width: PositiveInt
    hidden: tuple[PositiveInt, ...]
    outputs: PositiveInt


def toy_of(config: RunConfig) -> Config:
    assert isinstance(config.model, Config)
    return config.model
