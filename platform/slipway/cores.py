"""The number of CPUs that a process may use at once. Imports no torch."""

import os
from pathlib import Path

QUOTA = (
    "sys/fs/cgroup/cpu.max"  # of the container's own group: `QUOTA PERIOD` in microseconds, or `max PERIOD`
)


def usable(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use: those it is bound to, at most its container's quota.

    A pod sees all cores of its node. More threads than the quota has CPUs are all stopped in each period, for what is
    left of it. root: stands for /.
    """
    bound = len(os.sched_getaffinity(0))
    try:
        quota, period = (root / QUOTA).read_text().split()
        return max(1, min(bound, int(quota) // int(period)))
    except (OSError, ValueError):
        return bound
