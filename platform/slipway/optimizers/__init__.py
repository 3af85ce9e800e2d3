"""Optimizers.

An optimizer is a package with three modules, and a line in slipway.registry or an entry point of slipway.optimizers:

config     the pydantic section `Config` of conf/optimizer/*.yaml, with the literal field `name`
algorithm  the pure half, ALGORITHM (see slipway.optimizers.kind): what is kept of each parameter; imports no torch
optimizer  the torch half, OPTIMIZER (see slipway.optimizers.kind): builds torch's optimizer
"""

from slipway.config.schema import RunConfig
from slipway.optimizers.kind import Algorithm, Builder
from slipway.registry import OPTIMIZERS


def algorithm(config: RunConfig) -> Algorithm:
    """Return the pure half of the configured optimizer."""
    return OPTIMIZERS.part(config.optimizer.name, "algorithm").ALGORITHM


def builder(config: RunConfig) -> Builder:
    """Return the torch half of the configured optimizer. Imports torch."""
    return OPTIMIZERS.part(config.optimizer.name, "optimizer").OPTIMIZER
