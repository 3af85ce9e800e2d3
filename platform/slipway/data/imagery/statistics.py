"""Mean and standard deviation of each band, from exact sums, so that they depend on no order."""

from collections.abc import Iterable
from fractions import Fraction
from math import sqrt
from typing import NamedTuple

from slipway.data.imagery.config import Config as Data
from slipway.data.imagery.manifest import Manifest, Sums
from slipway.errors import UserError


class Statistics(NamedTuple):
    """Mean and standard deviation, by band."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def statistics(data: Data, found: Manifest) -> Statistics:
    """Return data.mean and data.std, or those of the training chips of all prepared sources, whatever their weights.

    Raises UserError if there are none: no pixel of a band was measured, or all its pixels are equal.
    """
    if data.mean is not None and data.std is not None:
        return Statistics(data.mean, data.std)
    prepared = of_sums([record.sums for record in found.sources.values()], len(data.bands))
    for band, std in zip(data.bands, prepared.std, strict=True):
        if data.std is None and not std > 0:
            raise UserError(
                "data.std",
                f"cannot be computed from the training chips in {data.dir}: {band} is the same in all their pixels, "
                "or was not measured",
                use=f"{len(data.bands)} numbers above 0",
            )
    return Statistics(data.mean or prepared.mean, data.std or prepared.std)


def of_sums(sums: Iterable[Sums], bands: int) -> Statistics:
    """Return mean and standard deviation (of the population); 0 for a band that was never measured."""
    every = list(sums)
    mean, std = [], []
    for band in range(bands):
        count = sum(one.count[band] for one in every)
        if not count:
            mean.append(0.0)
            std.append(0.0)
            continue
        average = sum(Fraction(one.sum[band]) for one in every) / count
        square = sum(Fraction(one.squares[band]) for one in every) / count
        mean.append(float(average))
        std.append(sqrt(max(0, square - average**2)))
    return Statistics(tuple(mean), tuple(std))
