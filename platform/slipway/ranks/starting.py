"""The time that a command has taken to start, which a later segment must expect to lose again."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from slipway.ranks import signals

_not_counted: dict[float, float] = defaultdict(float)  # by each command's beginning: a sweep has many


@contextmanager
def not_counted() -> Iterator[None]:
    """Leave out the time spent within, as it is not part of every start: preparing data, waiting for other nodes."""
    begun = time.monotonic()
    try:
        yield
    finally:
        _not_counted[signals.began] += time.monotonic() - begun


def start_seconds() -> float:
    """Return the seconds from the command's beginning to now, without what was left out."""
    return time.monotonic() - signals.began - _not_counted[signals.began]
