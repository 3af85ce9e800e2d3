"""The file launch.json: what was submitted for a run, where and when. It holds names and ids, no secrets."""

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway import files
from slipway.errors import UserError
from slipway.plan.facts import Facts
from slipway.records import first_problem
from slipway.run_dir import RunDir

if TYPE_CHECKING:
    from slipway.config.schema import RunConfig

KEPT = 100  # the newest submissions of a run stay

_ID = re.compile(r"[0-9]+(_[0-9]+)?")

Scheduler = Literal["slurm", "kubernetes", "local"]


class Submission(BaseModel):
    """One call of sbatch or kubectl for a run, or one job of an array."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheduler: Scheduler
    cluster: str
    """The profile's name."""
    submitted: float
    """Unix seconds."""
    id: str | None = Field(default=None, pattern=f"^{_ID.pattern}$")
    """Slurm: the job's number, or ARRAY_INDEX; jobs that continue it are in RunDir.continuations."""
    kind: Literal["Job", "JobSet", "TrainJob"] | None = None
    """Kubernetes: the kind of the resource."""
    name: str | None = None
    """Name of the resource (Kubernetes) or job (Slurm): tells it from another cluster's job of the same number."""
    others: list[str] = []
    """Kubernetes: the objects made for this resource alone, as kubectl names them: `ConfigMap/a`."""
    sweep: str | None = None
    """Kubernetes: the label (slipway/sweep) of the runs that were submitted together."""
    shared: list[str] = []
    """Kubernetes: the objects made for all runs of the sweep, deleted with the last one."""
    namespace: str | None = None
    context: str | None = None
    """kubectl's context at the submission; None: none is set, as inside a pod."""
    image: str = ""
    command: list[str] = []
    """The words that submitted it."""
    chain: int | None = None
    """The most segments that the chain has (launch.chain)."""
    facts: Facts | None = None
    """Facts about the training (slipway.plan.facts.facts_of), shown until it starts."""
    run_dir: str | None = None
    """Kubernetes: the run's directory as its pods see it, relative to their current folder."""


class Record(BaseModel):
    """The content of launch.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    submissions: list[Submission] = Field(min_length=1)
    """Submissions, newest last, at most KEPT."""


def folder_of(config: "RunConfig", scheduler: Scheduler) -> Path:
    """Return the directory of a run's launch.json, as seen from here.

    Slurm and local: run.dir, relative to launch.workdir. Kubernetes, whose volume is not mounted here: run.dir if it
    is relative, else runs/NAME, below the current directory.
    """
    run_dir = config.run.dir
    if scheduler != "kubernetes":
        return Path(config.launch.workdir or ".") / run_dir
    return Path("runs") / config.run.name if run_dir.is_absolute() or ".." in run_dir.parts else run_dir


def add(folder: Path, submission: Submission) -> None:
    """Append a submission to a run's record, and create the directory if needed.

    Raises UserError if the existing record cannot be read.
    """
    earlier = read(folder)
    every = [*(earlier.submissions if earlier else []), submission]
    files.make_folder(folder)
    files.write_whole(
        RunDir(folder).submissions, Record(submissions=every[-KEPT:]).model_dump_json(indent=1) + "\n"
    )


def take_back(folder: Path, submission: Submission) -> None:
    """Undo `add`, for a submission that came to nothing."""
    found = read(folder)
    left = [one for one in found.submissions if one != submission] if found else []
    if left:
        files.write_whole(
            RunDir(folder).submissions, Record(submissions=left).model_dump_json(indent=1) + "\n"
        )
        return
    with contextlib.suppress(OSError):
        RunDir(folder).submissions.unlink(missing_ok=True)
        folder.rmdir()  # fails if the directory holds anything else


def continuations(folder: Path) -> list[str]:
    """Return the numbers of the Slurm jobs that jobs of this run submitted to continue it, oldest first.

    Each such job appends the number of the one that it submits, on a line. Raises Unreadable if the file cannot be
    read.
    """
    words = (files.read(RunDir(folder).continuations) or b"").decode(errors="replace").split()
    return [word for word in words if _ID.fullmatch(word)]


def read(folder: Path) -> Record | None:
    """Return a run's record; None if it was never submitted.

    Raises UserError if the file is not a record, and Unreadable if it cannot be read.
    """
    path = RunDir(folder).submissions
    content = files.read(path)
    if content is None:
        return None
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise UserError(
            path,
            f"is not a record of submissions: {first_problem(error)}",
            do="remove it, or use the version of Slipway that wrote it",
        ) from error
