"""Peak memory of published rows. `python -m published.test_memory` in tests/ prints the table of the docs."""

from statistics import median

import pytest

from published.cases import case_of
from published.memory import counted_as, measured, planned_gib
from published.rows import Row


def errors(rows: list[Row]) -> dict[str, float]:
    """Relative error by row."""
    return {row.name: planned_gib(case_of(row)) / (row.peak_gib or 0) - 1 for row in rows}


@pytest.mark.parametrize("half", ["fit", "test"])
def test_the_median_row_is_within_8_percent(half: str) -> None:
    found = errors([row for row in measured() if row.half == half])
    assert len(found) > 50
    assert median(map(abs, found.values())) < 0.06
    within = sum(abs(error) < 0.2 for error in found.values())
    assert within > 0.9 * len(found)


def test_tensors_of_megatron_core_are_within_5_percent() -> None:
    """Nothing is fitted to what torch's allocator has given away."""
    rows = [row for row in measured() if counted_as(case_of(row)) == "allocated"]
    assert len(rows) > 25
    assert max(map(abs, errors(rows).values())) < 0.05
