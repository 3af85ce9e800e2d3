"""What a parameter's values are before the first step. How they are drawn is the engine's matter. Imports no torch."""

from typing import NamedTuple


class Normal(NamedTuple):
    """Independent numbers of a normal distribution around 0."""

    std: float


class Uniform(NamedTuple):
    """Independent numbers, all of low <= x < high alike."""

    low: float
    high: float


class Constant(NamedTuple):
    """One value everywhere."""

    value: float


Initial = Normal | Uniform | Constant
