"""The last step of a launch: one call of sbatch or kubectl, and a record of it beside each run."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from slipway.errors import UserError
from slipway.files import write_whole
from slipway.launch import record
from slipway.launch.placement import Placement
from slipway.launch.submission import slurm
from slipway.launch.submission.recording import remember
from slipway.plan import Plan
from slipway.run_dir import RunDir


def check(plans: Sequence[Plan], placement: Placement, workdir: Path) -> None:
    """Check that no run has a job already, and that the image exists. Raises UserError; writes nothing."""
    _check_free(plans, _folders(plans, placement))
    if placement.scheduler == "slurm" and workdir.is_dir() and not os.access(workdir, os.W_OK | os.X_OK):
        raise UserError(
            "launch.workdir",
            "cannot be written, and Slurm opens the job's log there",
            value=workdir,
            use="a directory you can write to",
        )
    image = plans[0].config.launch.image if placement.scheduler == "local" else placement.image
    if placement.scheduler != "kubernetes" and image:
        _check_image(image, workdir)


def submit(text: str, plans: Sequence[Plan], placement: Placement) -> str:
    """Call sbatch or kubectl once. Return what it made, in words.

    Raises UserError before the call, and Fault if the scheduler refuses.
    """
    folders = _folders(plans, placement)
    if placement.scheduler == "kubernetes":
        from slipway.launch.submission import kubernetes

        return kubernetes.submit_runs(text, plans, placement, folders)
    return slurm.submit(_write(text, folders), plans, placement, folders)


def run_here(text: str, plans: Sequence[Plan], placement: Placement) -> int:
    """Run the script of a cluster without a scheduler to its end. Return its exit code."""
    folders = _folders(plans, placement)
    command = ["bash", str(_write(text, folders))]
    for plan, folder in zip(plans, folders, strict=True):
        remember(folder, plan, placement, command)
    sys.stderr.flush()
    return subprocess.run(command).returncode


def say_next(plans: Sequence[Plan], placement: Placement) -> None:
    """Print the commands that show, follow and cancel what was submitted."""
    folder = _folders(plans, placement)[0]
    name = shlex.quote(plans[0].config.run.name) if len(plans) == 1 else "NAME"
    option = "" if folder.parent == Path("runs") else f" --dir {shlex.quote(str(folder.parent))}"
    for action, what in (("show", "state and segments"), ("logs", "what it prints"), ("cancel", "end it")):
        print(f"slipway runs {action} {name}{option}    # {what}", file=sys.stderr)


def _folders(plans: Sequence[Plan], placement: Placement) -> list[Path]:
    return [record.folder_of(plan.config, placement.scheduler) for plan in plans]


def _write(text: str, folders: Sequence[Path]) -> Path:
    """Write the script into the first run's directory, and create a directory for the logs of each.

    Return the script's path.

    Raises UserError if one of them cannot be written.
    """
    try:
        for folder in folders:
            RunDir(folder).logs.mkdir(parents=True, exist_ok=True)
        write_whole(RunDir(folders[0]).script, text)
    except OSError as error:
        raise UserError(
            "run.dir",
            f"cannot be written ({error.strerror})",
            value=folders[0],
            do="choose a run.dir that you can write to",
        ) from None
    return RunDir(folders[0]).script


def _check_free(plans: Sequence[Plan], folders: Sequence[Path]) -> None:
    """Refuse a second job for a run that has one. Raises UserError, which names the first."""
    from slipway.launch.schedulers import states

    jobs = {job: plan for plan, folder in zip(plans, folders, strict=True) for job in states.jobs_of(folder)}
    if not jobs:
        return
    for job, state in states.ask(list(jobs), past=False, pods=False).items():
        name = jobs[job].config.run.name
        if state.alive:
            raise UserError(
                "run.dir",
                f"{name} is already {state.word} as job {job.id or state.detail}",
                do=f"show it with `slipway runs show {name}`, or end it with `slipway runs cancel {name}`",
            )
        if job.submission.scheduler == "kubernetes" and state.word in ("finished", "failed", "cancelled"):
            raise UserError(
                "run.dir",
                f"{name} still has its {job.id}, {state.word}, and no second one can be created in its place",
                do=f"remove it with `slipway runs cancel {name}`",
            )


def _check_image(image: str, workdir: Path) -> None:
    if "://" in image:
        return
    if not (workdir / image).exists():
        raise UserError(
            "launch.image",
            "does not exist",
            value=workdir / image,
            use="a SIF file, absolute or relative to the current directory; `slipway image sif` creates one",
        )
