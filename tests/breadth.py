"""How much of the same is tested: what every change is tested with, or all there is.

`make test` and `make test-faults` take from each table the rows that hold several properties at once;
`make test-nightly` takes all rows, which tell one property from another when a row of several fails.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TypeVar

ALL = os.environ.get("SLIPWAY_TESTS") == "all"
"""Whether all there is is wanted. Nothing else reads the variable."""

SECOND = sys.version_info >= (3, 12)
"""Whether this is the second of two Pythons, which runs fewer files and so more rows of each (`make test-py312`)."""

Row = TypeVar("Row")


def some(table: Mapping[str, Row], names: Iterable[str], second: Iterable[str] = ()) -> dict[str, Row]:
    """The rows with these names, on the second Python also the others named, or all of the table."""
    return dict(table) if ALL else {name: table[name] for name in [*names, *(second if SECOND else ())]}
