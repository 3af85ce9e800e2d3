"""The fields of conf/data/vectors.yaml."""

from collections.abc import Mapping
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from slipway.config.schema import RunConfig
from slipway.config.section import DataSection, SourceName, SourceSection


class Source(SourceSection):
    shift: float = 0.0


class Config(DataSection):
    kind: Literal["vectors"] = "vectors"
    samples: PositiveInt
    noise: PositiveFloat
    broken: NonNegativeInt | None = None  # a number of each source's samples that is not finite
    sources: Mapping[SourceName, Source]


def vectors_of(config: RunConfig) -> Config:
    assert isinstance(config.data, Config)
    return config.data
