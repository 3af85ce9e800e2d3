"""An earlier pod of the same run that still holds it, because it saves while the next one is already there."""

import os
import time
from pathlib import Path

from slipway.runs.lock import holder as holder_file
from slipway.runs.lock.holder import is_own
from slipway.runs.lock.lock import holder_of

OWN_SECONDS = 420.0
"""The time that a pod has for its last save (300 s unless the profile sets another), and a cluster's delays."""
LOOK_SECONDS = 0.5


def outlast(run_dir: Path) -> None:
    """Return when no earlier pod of this run holds the run, or after OWN_SECONDS."""
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
