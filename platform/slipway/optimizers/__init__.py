"""Optimizers.

One is a package with two modules, and a line in slipway.registry or an entry point of slipway.optimizers:

config     the pydantic section `Config` of conf/optimizer/*.yaml, with the literal field `name`
algorithm  ALGORITHM (see slipway.optimizers.kind)
"""

from slipway.config.schema import RunConfig
from slipway.optimizers.kind import Algorithm
from slipway.registry import OPTIMIZERS


def algorithm(config: RunConfig) -> Algorithm:
    """The configured optimizer."""
    return OPTIMIZERS.part(config.optimizer.name, "algorithm").ALGORITHM
