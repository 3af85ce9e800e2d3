"""An earlier pod of the same run that still holds it: one that saves while the next one is there already."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from slipway.runs.lock import holder as holder_file
from slipway.runs.lock.holder import Holder

OWN_SECONDS = 420.0
"""What a pod is given for its last save (300 s where the profile says nothing else), and a cluster's delays."""
LOOK_SECONDS = 0.5
POD = "SLIPWAY_JOB_ID"
"""Set in pods: the workload's name, which is the same whenever the run is launched."""


def is_own(holder: Holder | None, environment: Mapping[str, str]) -> bool:
    """Whether a holder is a pod of the run that this pod belongs to: nobody's mistake, and soon over.

    Slurm starts a job again only when its processes are gone: there two starts in one job are a user's.
    """
    job = environment.get(POD)
    return holder is not None and bool(job) and holder.job == job


def outlast(run_dir: Path) -> None:
    """Return when no earlier pod of this run holds the run, or after OWN_SECONDS."""
    from slipway.runs.lock.lock import holder_of

    deadline, told = time.monotonic() + OWN_SECONDS, False
    while holder_file.read(run_dir) is not None and time.monotonic() < deadline:
        holder = holder_of(run_dir, holder_file.file_system_time(run_dir))
        if not is_own(holder, os.environ):
            return
        if not told:
            who = f"{holder}, an earlier pod of this run"
            print(f"{run_dir} is held by {who}: waiting up to {OWN_SECONDS:.0f} s for its end", flush=True)
        told = True
        time.sleep(LOOK_SECONDS)
