"""CPUs that a process may use at once."""

import os
from pathlib import Path

import pytest

from slipway import cores

BOUND = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("max 100000\n", BOUND),
        ("100000 100000\n", 1),
        ("150000 100000\n", 1),  # whole ones: a thread more would be stopped in every period
        ("50000 100000\n", 1),
        (f"{BOUND * 50000} 50000\n", BOUND),
        (f"{(BOUND + 7) * 100000} 100000\n", BOUND),
        ("", BOUND),
        ("of another kind", BOUND),
    ],
)
def test_the_containers_quota(tmp_path: Path, said: str, expected: int) -> None:
    file = tmp_path / cores.QUOTA
    file.parent.mkdir(parents=True)
    file.write_text(said)
    assert cores.usable(tmp_path) == expected


def test_without_a_quota(tmp_path: Path) -> None:
    assert cores.usable(tmp_path) == BOUND
