"""The file run.dir/bad_nodes: nodes that the next segment must do without, one line each: NODE reason.

The trainer's verdict on a hang and `slipway doctor` write it; the Slurm script excludes the first word of each line.
Remove a line, or the file, to use a node again.
"""

import contextlib
import re
from pathlib import Path

from slipway import files
from slipway.run_dir import RunDir

_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def add(run_dir: Path, node: str, reason: str) -> None:
    """Add a node to the file; one that is there already keeps its first reason.

    node: its name in the scheduler (train.environment.node_name). A word that is no such name is left out: it would
    go into a command line. Raises OSError if the file cannot be written.
    """
    if _HOST.fullmatch(node) is None:
        return
    with contextlib.suppress(files.Unreadable):  # a second line for a node does no harm
        if node in read(run_dir):
            return
    files.make_folder(Path(run_dir))
    words = " ".join(reason.split()).encode(errors="replace").decode()
    files.append(
        RunDir(Path(run_dir)).bad_nodes, f"{node} {words}"
    )  # in one piece: several nodes may write at once


def read(run_dir: Path) -> dict[str, str]:
    """Return reasons by node; empty if no node is in the file. Raises Unreadable."""
    lines = (files.read(RunDir(Path(run_dir)).bad_nodes) or b"").decode(errors="replace").splitlines()
    found: dict[str, str] = {}
    for line in lines:
        host, _, reason = line.partition(" ")
        if _HOST.fullmatch(host):
            found.setdefault(host, reason)
    return found
