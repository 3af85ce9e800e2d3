"""A run's directory: the place of each file in it, and whether a run can live there.

No other module spells these names. docs/runs.md says of each file when it is on disk and who removes it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway.errors import UserError
from slipway.files import nearest_existing


class _Place:
    """A path below a run's directory."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    def __get__(self, run: "RunDir", owner: type) -> Path:
        return run.path.joinpath(*self.parts)


@dataclass(frozen=True)
class RunDir:
    """The directory of one run (run.dir)."""

    path: Path

    metrics = _Place("metrics.jsonl")
    """A record of every step; see slipway.metrics.file."""
    plan = _Place("plan.json")
    """The Plan of the newest segment."""
    bad_nodes = _Place("bad_nodes")
    """Nodes that the next segment must do without; see slipway.runs.bad_nodes."""
    lock = _Place(".lock")
    """An empty file; the process that trains the run has locked it."""
    holder = _Place(".lock.holder")
    """A file that names that process."""
    submissions = _Place("launch.json")
    """A record of what `slipway launch --submit` submitted; see slipway.launch.record."""
    continuations = _Place("launch.continuations")
    """Numbers of Slurm jobs that jobs of the run submitted to continue it."""
    script = _Place("job.sh")
    """The script of the last `slipway launch`."""
    job_plan = _Place("job_plan.json")
    """The plan that this script carries."""
    picture = _Place("loss.png")
    """The picture that `slipway report` draws."""
    page = _Place("report.html")
    """The page that `slipway report` writes."""
    pictures = _Place("pictures")
    """Pictures of validations, by step; see slipway.metrics.pictures."""
    evaluations = _Place("evaluation")
    """Results of `slipway evaluate`, by name and step; see slipway.metrics.evaluations."""
    tokenizer = _Place("tokenizer")
    """The model's tokenizer: tokenizer.json and what belongs to it; see slipway.data.text.vocabulary."""
    imported = _Place("imported.json")
    """The origin of the weights with which `slipway import` began the run; see slipway.handover.origin."""
    checkpoints = _Place("checkpoints")
    """A folder for each checkpoint; see slipway.checkpoint.store."""
    segments = _Place("segments")
    """A record for each segment; see slipway.runs.ledger."""
    hangs = _Place("hangs")
    """A folder for each segment that hung; see slipway.train.watch.hang_report."""
    logs = _Place("logs")
    """Output of jobs, ranks and wandb's process."""
    wandb_log = _Place("logs", "wandb.log")
    """Output of wandb's process."""
    tensorboard = _Place("tensorboard")
    """TensorBoard's events."""
    wandb = _Place("wandb")
    """wandb's data, in a folder that wandb names; see slipway.metrics.wandb_data."""

    def check(self) -> None:
        """Raise UserError if a training could not create or write the directory, or if a file is not what it should be.

        Writes nothing.
        """
        run_dir = self.path
        nearest = nearest_existing(run_dir)
        if not nearest.is_dir():
            raise UserError(
                "run.dir",
                f"cannot be created: {nearest} is not a directory",
                value=run_dir,
                do="choose another run.dir",
            )
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise UserError(
                "run.dir", cannot_write(nearest), do="ask its owner for permission, or choose another run.dir"
            )
        for path in (self.checkpoints, self.hangs, self.logs, self.segments, self.tensorboard, self.wandb):
            _check(path, "a directory", Path.is_dir, os.W_OK | os.X_OK)
        for path in (self.metrics, self.plan, self.bad_nodes, self.lock, self.holder):
            _check(path, "a file", Path.is_file, os.R_OK | os.W_OK)


def rank_log(logs: Path, rank: int) -> Path:
    """Return the file in `logs` that a rank prints into if it shares its terminal with others."""
    return logs / f"rank-{rank:05d}.log"


def _check(path: Path, what: str, is_right: Callable[[Path], bool], rights: int) -> None:
    if not path.exists():
        return
    if not is_right(path):
        raise UserError(
            "run.dir",
            f"is not {what}, which the run needs there",
            value=path,
            do="move it away, or choose another run.dir",
        )
    if not os.access(path, rights):
        raise UserError(
            "run.dir",
            "cannot be written",
            value=path,
            do="ask its owner for permission, or choose another run.dir",
        )


def cannot_write(folder: Path) -> str:
    """Return why a folder cannot be written, in words: its owner, this process's user, and the remedy."""
    me = f"{os.geteuid()}:{os.getegid()}"
    mend = f"chown -R {me} {folder}, or another run.dir"
    try:
        state = folder.stat()
    except OSError:
        return f"cannot write into {folder} as uid:gid {me}"
    owner = f"{state.st_uid}:{state.st_gid}"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        mend = f"chown -R {me} {folder} as root, as deploy/kubernetes/owner.yaml does"
        if state.st_uid:
            mend += f"; or launch with cluster.kubernetes.run_as_user={state.st_uid}"
    return (
        f"cannot write into {folder}: it belongs to uid:gid {owner}, mode {state.st_mode & 0o777:03o}, and this "
        f"process is {me}; mend it: {mend}"
    )
