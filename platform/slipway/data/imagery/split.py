"""The split of each place: all chips that share ground are in one split."""

from collections.abc import Collection
from hashlib import sha256
from itertools import accumulate

from slipway.data.kind import Split
from slipway.data.split import SPLITS


def split_of(places: Collection[str], shares: tuple[float, float, float]) -> dict[str, Split]:
    """Return the split of each place: shares of the places, in the order of their names' checksums.

    Every split with a share above 0 gets a place as long as places are left, training first.
    """
    order = sorted(set(places), key=lambda place: (sha256(place.encode()).digest(), place))
    counts = _counts(len(order), shares)
    names: list[Split] = [name for name, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    return dict(zip(order, names, strict=True))


def _counts(places: int, shares: tuple[float, float, float]) -> list[int]:
    total = sum(shares)
    borders = [0, *(round(border / total * places) for border in accumulate(shares))]
    counts = [borders[i + 1] - borders[i] for i in range(len(SPLITS))]
    for i, share in enumerate(shares):
        largest = max(range(len(SPLITS)), key=lambda k: counts[k])
        if share and not counts[i] and counts[largest] > 1:
            counts[largest] -= 1
            counts[i] += 1
    return counts
