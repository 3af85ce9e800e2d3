"""The values of a parameter before the first step; the engine decides how they are drawn. Imports no torch."""

from typing import NamedTuple


class Normal(NamedTuple):
    """Independent numbers from a normal distribution with mean 0."""

    std: float


class Uniform(NamedTuple):
    """Independent numbers, uniform in low <= x < high."""

    low: float
    high: float


class Constant(NamedTuple):
    """One value everywhere."""

    value: float


Initial = Normal | Uniform | Constant
