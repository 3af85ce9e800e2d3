"""launch.json: what was submitted for a run, where and when. Holds names and ids, no secret."""

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

KEPT = 100  # newest submissions of a run

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
    """Kubernetes: kind of the resource."""
    name: str | None = None
    """Of the resource (Kubernetes), of the job (Slurm): tells it from another cluster's job of the same number."""
    others: list[str] = []
    """Kubernetes: what was made for this resource alone, as kubectl names it: `ConfigMap/a`."""
    sweep: str | None = None
    """Kubernetes: label (slipway/sweep) of the runs that were submitted together."""
    shared: list[str] = []
    """Kubernetes: what was made for all of them, and goes with the last one."""
    namespace: str | None = None
    context: str | None = None
    """kubectl's context at the submission; None: none is set, as inside a pod."""
    image: str = ""
    command: list[str] = []
    """The words that submitted it."""
    chain: int | None = None
    """Segments at most (launch.chain)."""
    facts: Facts | None = None
    """What is to be trained (slipway.plan.facts.facts_of a plan), for the time before it starts."""
    run_dir: str | None = None
    """Kubernetes: the run's directory as its pods see it, relative to their current folder."""


class Record(BaseModel):
    """launch.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    submissions: list[Submission] = Field(min_length=1)
    """Newest last, KEPT at most."""


def folder_of(config: "RunConfig", scheduler: Scheduler) -> Path:
    """Return where a run's launch.json is, as seen from here.

    Slurm and local: run.dir, relative to launch.workdir. Kubernetes, whose volume is not mounted here: run.dir if it
    is relative, else runs/NAME, below the current folder.
    """
    run_dir = config.run.dir
    if scheduler != "kubernetes":
        return Path(config.launch.workdir or ".") / run_dir
    return Path("runs") / config.run.name if run_dir.is_absolute() or ".." in run_dir.parts else run_dir


def add(folder: Path, submission: Submission) -> None:
    """Append a submission to a run's record; the folder is made. UserError where the record cannot be read."""
    earlier = read(folder)
    every = [*(earlier.submissions if earlier else []), submission]
    files.make_folder(folder)
    files.write_whole(
        RunDir(folder).submissions, Record(submissions=every[-KEPT:]).model_dump_json(indent=1) + "\n"
    )


def take_back(folder: Path, submission: Submission) -> None:
    """Undo `add`: nothing came of the submission."""
    found = read(folder)
    left = [one for one in found.submissions if one != submission] if found else []
    if left:
        files.write_whole(
            RunDir(folder).submissions, Record(submissions=left).model_dump_json(indent=1) + "\n"
        )
        return
    with contextlib.suppress(OSError):
        RunDir(folder).submissions.unlink(missing_ok=True)
        folder.rmdir()  # where it holds nothing else


def continuations(folder: Path) -> list[str]:
    """Return numbers of the Slurm jobs that jobs of this run submitted to continue it, oldest first. Raises Unreadable.

    Each such job appends the number of the one it submits, on a line.
    """
    words = (files.read(RunDir(folder).continuations) or b"").decode(errors="replace").split()
    return [word for word in words if _ID.fullmatch(word)]


def read(folder: Path) -> Record | None:
    """Return a run's record; None where it was never submitted. UserError where the file is not a record; Unreadable."""
    path = RunDir(folder).submissions
    content = files.read(path)
    if content is None:
        return None
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        raise UserError(path, f"is not a record of submissions: {first_problem(error)}") from error
