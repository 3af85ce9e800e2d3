"""What a rank's threads do while they wait for each other, as OpenMP itself says."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
from slipway.train.runtime import wait_without_spinning
wait_without_spinning()
import torch
"""


def spin_count(**set_by_user: str) -> str:
    """The value that reached the OpenMP library that torch loads."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**inherited, "OMP_DISPLAY_ENV": "VERBOSE", **set_by_user},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]
    if not said:
        pytest.skip("this torch does not load GNU OpenMP")
    return said[0].split("'")[1]


def test_threads_do_not_spin() -> None:
    assert spin_count() == "1000"


def test_what_the_user_has_set_stays() -> None:
    assert spin_count(GOMP_SPINCOUNT="77") == "77"
    assert spin_count(OMP_WAIT_POLICY="active") != "1000"
