"""Makes long curves short enough for a page, with every peak kept."""

from collections.abc import Sequence

MOST = 600
"""Points of a curve on the page: more than a screen has columns for it."""


def thin(xs: Sequence[float], ys: Sequence[float], most: int = MOST) -> tuple[list[float], list[float]]:
    """Return at most `most` (at least 4) of the points: the first, lowest, highest and last of each stretch."""
    count = len(xs)
    if count <= most:
        return list(xs), list(ys)
    stretches = most // 4
    kept: list[int] = []
    for number in range(stretches):
        here = range(number * count // stretches, (number + 1) * count // stretches)
        kept += sorted({here[0], min(here, key=ys.__getitem__), max(here, key=ys.__getitem__), here[-1]})
    return [xs[at] for at in kept], [ys[at] for at in kept]
