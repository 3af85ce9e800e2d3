"""The short form of `make soak`: a few runs of the long one, always the same."""

import time
from pathlib import Path

import pytest

import breadth
from soak import soak, table

# enough to see that the soak itself works; `make test-nightly` goes through all layouts
TIMES = 4 if breadth.ALL else 2
JOBS = [("one rank", True), *([("TP2", False)] if breadth.ALL else [])]


@pytest.mark.timeout(900)
def test_disturbed_runs_have_the_curve_of_the_undisturbed_one(corpus: list[str], tmp_path: Path) -> None:
    tallies = soak(tmp_path, corpus, JOBS, TIMES, time.monotonic() + 600, seed=5, workers=2)
    print(table(tallies))
    assert [tally.failures for tally in tallies] == [[]] * len(JOBS)
    assert sum(sum(tally.kinds.values()) for tally in tallies) >= TIMES  # the others came when it was over
