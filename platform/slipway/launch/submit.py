"""The thin edge: one call of sbatch or kubectl, and a record of it beside each run."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from slipway.access import hand_to_pods
from slipway.errors import Fault, UserError
from slipway.files import write_whole
from slipway.launch import leftovers, record
from slipway.launch.placement import Placement
from slipway.launch.record import Submission
from slipway.launch.schedulers import slurm
from slipway.launch.slurm import job_name
from slipway.plan import Plan
from slipway.plan.facts import facts_of
from slipway.run_dir import RunDir

SECONDS = 120.0
_NUMBER = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S*| on cluster \S+)?")


class Unanswered(Fault):
    """A program was ended because it gave no answer: what it was to do may have been done."""


def check(plans: Sequence[Plan], placement: Placement, workdir: Path) -> None:
    """Raises UserError where a run has a job already, or its image is not there. Writes nothing."""
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
    """One call of sbatch or kubectl; what it made, in words. Raises UserError before, Fault where it refuses."""
    folders = _folders(plans, placement)
    if placement.scheduler == "kubernetes":
        return _kubernetes(text, plans, placement, folders)
    return _slurm(_write(text, folders), plans, placement, folders)


def run_here(text: str, plans: Sequence[Plan], placement: Placement) -> int:
    """Run the script of a cluster without a scheduler, to its end; its exit code."""
    folders = _folders(plans, placement)
    command = ["bash", str(_write(text, folders))]
    for plan, folder in zip(plans, folders, strict=True):
        _record(folder, plan, placement, command)
    sys.stderr.flush()
    return subprocess.run(command).returncode


def say_next(plans: Sequence[Plan], placement: Placement) -> None:
    """What to do with what was submitted."""
    folder = _folders(plans, placement)[0]
    name = shlex.quote(plans[0].config.run.name) if len(plans) == 1 else "NAME"
    option = "" if folder.parent == Path("runs") else f" --dir {shlex.quote(str(folder.parent))}"
    for action, what in (("show", "state and segments"), ("logs", "what it prints"), ("cancel", "end it")):
        print(f"slipway runs {action} {name}{option}    # {what}", file=sys.stderr)


def _folders(plans: Sequence[Plan], placement: Placement) -> list[Path]:
    return [record.folder_of(plan.config, placement.scheduler) for plan in plans]


def _write(text: str, folders: Sequence[Path]) -> Path:
    """The script in the first run's folder, and a place for the logs of each. Raises UserError."""
    try:
        for folder in folders:
            RunDir(folder).logs.mkdir(parents=True, exist_ok=True)
        write_whole(RunDir(folders[0]).script, text)
    except OSError as error:
        raise UserError("run.dir", f"cannot be written ({error.strerror})", value=folders[0]) from None
    return RunDir(folders[0]).script


def _slurm(script: Path, plans: Sequence[Plan], placement: Placement, folders: Sequence[Path]) -> str:
    """One call of sbatch; the job's number. Fault where it refuses, and where nothing says which number it gave."""
    command, name = ["sbatch", "--parsable", str(script)], job_name(plans)
    began, why = time.time(), None
    try:
        said = _call(command, "", leftovers.submission(os.environ))
    except Unanswered as unanswered:
        said, why = "", unanswered
    except KeyboardInterrupt:
        said, why = "", Fault(shlex.join(command), "was interrupted, but may have submitted the job")
    job = job_number(said) or slurm.newest(name, began)
    indices = range(len(plans)) if len(plans) > 1 else [None]
    for plan, folder, index in zip(plans, folders, indices, strict=True):
        number = f"{job}_{index}" if job and index is not None else job
        _record(folder, plan, placement, command, id=number, name=name)
    if job is None:
        why = why or Fault(shlex.join(command), f"printed no job number: {_last_words(said) or 'nothing'}")
        raise why.replaced(
            problem=f"{why.problem}; the run counts as submitted while a job of its name is in the queue",
            do=f"look for the job with `squeue --me --name={shlex.quote(name)}`",
        )
    return job if len(plans) == 1 else f"{job}_[0-{len(plans) - 1}]"


def job_number(said: str) -> str | None:
    """The number in what sbatch printed, the last line of that form: a site's wrapper may print more. None: none."""
    found = [_NUMBER.fullmatch(line.strip()) for line in said.splitlines()]
    return next((one[1] for one in reversed(found) if one), None)


def _kubernetes(text: str, plans: Sequence[Plan], placement: Placement, folders: Sequence[Path]) -> str:
    import yaml

    from slipway.launch import kubernetes_submission as kubernetes

    every = [one for one in yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if one]
    cluster, command = kubernetes.Cluster.current(), ["kubectl", *kubernetes.CREATE]
    made = []
    for plan, folder, run in zip(plans, folders, kubernetes.workloads(every), strict=True):
        where = kubernetes.submission_of(run, every, cluster) | {"run_dir": str(plan.config.run.dir)}
        made.append((folder, _submission(plan, placement, command, **where)))

    def remember() -> None:
        for plan, (folder, one) in zip(plans, made, strict=True):
            new = not folder.exists()
            try:
                record.add(folder, one)
                warning = hand_to_pods(folder, plan.config) if new else None
            except OSError as error:
                forget()
                raise UserError("run.dir", f"cannot be written ({error.strerror})", value=folder) from None
            if warning:
                print(f"slipway: {warning}", file=sys.stderr)

    def forget() -> None:
        for folder, one in made:
            record.take_back(folder, one)

    return "\n".join(kubernetes.submit(every, cluster, remember, forget))


def _submission(
    plan: Plan, placement: Placement, command: Sequence[str], **where: str | list[str] | None
) -> Submission:
    return Submission.model_validate(
        {
            "scheduler": placement.scheduler,
            "cluster": plan.config.cluster.name,
            "submitted": time.time(),
            "image": placement.image,
            "command": list(command),
            "chain": plan.config.launch.chain,
            "facts": facts_of(plan.model_dump(mode="json", exclude={"ranks", "memory"})),
            **where,
        }
    )


def _record(
    folder: Path, plan: Plan, placement: Placement, command: Sequence[str], **where: str | list[str] | None
) -> None:
    """The job is on its way: what cannot be written down is said, and no reason to fail."""
    try:
        record.add(folder, _submission(plan, placement, command, **where))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        print(f"slipway: submitted, but not recorded in {folder}: {why}", file=sys.stderr)


def _check_free(plans: Sequence[Plan], folders: Sequence[Path]) -> None:
    """No second job for a run that has one. Raises UserError with its id."""
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


def _call(command: Sequence[str], text: str, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
    except FileNotFoundError:
        raise UserError(
            command[0],
            "is not installed on this machine",
            do="launch where it is, or omit --submit and take the script there",
        ) from None
    except subprocess.TimeoutExpired:
        raise Unanswered(
            shlex.join(command), f"no answer within {SECONDS:.0f} s", do="check whether it was submitted"
        ) from None
    if done.returncode:
        raise Fault(shlex.join(command), _last_words(done.stderr) or f"exit code {done.returncode}")
    return done.stdout


def _last_words(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())[-500:]
