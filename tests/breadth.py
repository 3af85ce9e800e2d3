"""How much of the same is tested: what every change is tested with, or all there is.

`make test` and `make test-faults` take from each table the rows that hold several properties at once;
`make test-nightly` takes all rows, which tell one property from another when a row of several fails.
"""

import os
from collections.abc import Iterable, Mapping
from typing import TypeVar

ALL = os.environ.get("SLIPWAY_TESTS") == "all"
"""Whether all there is is wanted. Nothing else reads the variable."""

Row = TypeVar("Row")


def some(table: Mapping[str, Row], names: Iterable[str]) -> dict[str, Row]:
    """The rows with these names, or all of the table."""
    return dict(table) if ALL else {name: table[name] for name in names}
