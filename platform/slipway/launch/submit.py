"""The thin edge: one call of sbatch or kubectl, and a record of it beside each run."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway.errors import EXIT_DONE, Fault, UserError
from slipway.files import write_whole
from slipway.launch import record
from slipway.launch.kubernetes.names import LABEL_RUN
from slipway.launch.placement import Placement
from slipway.launch.record import Submission
from slipway.launch.slurm import job_name
from slipway.plan import Plan
from slipway.runs.facts import facts_of

SCRIPT = "job.sh"
SECONDS = 120.0


def submit(text: str, plans: Sequence[Plan], placement: Placement, workdir: Path) -> int:
    """Hand what was rendered to the scheduler. Raises UserError before, Fault where the scheduler refuses."""
    folders = [record.folder_of(plan.config, placement.scheduler) for plan in plans]
    _check_free(plans, folders)
    if placement.scheduler == "kubernetes":
        return _kubernetes(text, plans, placement, folders)
    _check_image(placement.image, workdir, placement.scheduler)
    try:
        for folder in folders:
            (folder / "logs").mkdir(parents=True, exist_ok=True)
        script = folders[0] / SCRIPT
        write_whole(script, text)
    except OSError as error:
        raise UserError(f"run.dir: cannot write into {folders[0]} ({error.strerror})") from None
    if placement.scheduler == "local":
        return _local(script, plans, placement, folders)
    return _slurm(script, plans, placement, folders)


def _slurm(script: Path, plans: Sequence[Plan], placement: Placement, folders: Sequence[Path]) -> int:
    command = ["sbatch", "--parsable", str(script)]
    # Inside another job (an interactive one, a segment) its variables are not meant for this one.
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(("SLURM_", "SLIPWAY_SEGMENT", "SRUN_"))
    }
    job = _call(command, "", kept).strip().partition(";")[0]
    name = job_name(plans)
    ids = [job] if len(plans) == 1 else [f"{job}_{index}" for index in range(len(plans))]
    for plan, folder, one in zip(plans, folders, ids, strict=True):
        _record(folder, plan, placement, command, id=one, name=name)
    print(job if len(plans) == 1 else f"{job}_[0-{len(plans) - 1}]")
    _say_next(plans, folders)
    return EXIT_DONE


def _kubernetes(text: str, plans: Sequence[Plan], placement: Placement, folders: Sequence[Path]) -> int:
    import yaml

    command = ["kubectl", "apply", "-f", "-"]
    every = [one for one in yaml.safe_load_all(text) if one]
    resources = [one for one in every if one["kind"] in ("Job", "JobSet", "TrainJob")]
    assert len(resources) == len(plans), "one resource that runs for each plan"
    context = _context()
    sys.stdout.write(_call(command, text, dict(os.environ)))
    for plan, folder, one in zip(plans, folders, resources, strict=True):
        found = one["metadata"]
        where = {
            "kind": one["kind"],
            "name": found["name"],
            "namespace": found.get("namespace"),
            "context": context,
            "others": _made_for(found["name"], every),
        }
        _record(folder, plan, placement, command, **where)
    _say_next(plans, folders)
    return EXIT_DONE


def _made_for(name: str, manifests: Sequence[dict[str, Any]]) -> list[str]:
    """What goes with one run: KIND[.VERSION.GROUP]/NAME. What a sweep shares is not among it."""
    found = []
    for one in manifests:
        if (
            one["kind"] not in ("Job", "JobSet", "TrainJob")
            and one["metadata"]["labels"].get(LABEL_RUN) == name
        ):
            group, _, version = one["apiVersion"].rpartition("/")
            found.append(f"{one['kind']}{f'.{version}.{group}' if group else ''}/{one['metadata']['name']}")
    return found


def _local(script: Path, plans: Sequence[Plan], placement: Placement, folders: Sequence[Path]) -> int:
    command = ["bash", str(script)]
    for plan, folder in zip(plans, folders, strict=True):
        _record(folder, plan, placement, command)
    return subprocess.run(command).returncode


def _record(
    folder: Path, plan: Plan, placement: Placement, command: Sequence[str], **where: str | list[str] | None
) -> None:
    """The job is on its way: what cannot be written down is said, and no reason to fail."""
    try:
        one = Submission.model_validate(
            {
                "scheduler": placement.scheduler,
                "cluster": plan.config.cluster.name,
                "submitted": time.time(),
                "image": placement.image,
                "command": list(command),
                "facts": facts_of(plan.model_dump(mode="json", exclude={"ranks", "memory"})),
                **where,
            }
        )
        record.add(folder, one)
    except (OSError, ValueError) as error:
        print(f"slipway: submitted, but not recorded in {folder}: {error}", file=sys.stderr)


def _check_free(plans: Sequence[Plan], folders: Sequence[Path]) -> None:
    """No second job for a run that has one. Raises UserError with its id."""
    from slipway.launch.schedulers import states

    jobs = {job: plan for plan, folder in zip(plans, folders, strict=True) for job in states.jobs_of(folder)}
    if not jobs:
        return
    for job, state in states.ask(list(jobs), past=False, pods=False).items():
        if state.alive:
            name = jobs[job].config.run.name
            raise UserError(
                f"run.dir: {name} is already {state.word} as job {job.id}; `slipway runs show {name}` shows it, "
                f"`slipway runs cancel {name}` ends it"
            )


def _check_image(image: str, workdir: Path, scheduler: str) -> None:
    if not image or "://" in image or (scheduler == "local" and not image.endswith(".sif")):
        return
    if not (workdir / image).exists():
        raise UserError(
            f"launch.image: {workdir / image} is not there; `slipway image sif` makes one; allowed: a SIF "
            "file, from / on or below the current folder"
        )


def _call(command: Sequence[str], text: str, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
    except FileNotFoundError:
        raise UserError(
            f"{command[0]} is not on this machine: launch where it is, or leave --submit out and take the script there"
        ) from None
    except subprocess.TimeoutExpired:
        raise Fault(
            f"{shlex.join(command)}: no answer in {SECONDS:.0f} s; look whether it was submitted"
        ) from None
    if done.returncode:
        raise Fault(f"{shlex.join(command)}: {_last_words(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def _last_words(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())[-500:]


def _context() -> str | None:
    try:
        done = subprocess.run(
            ["kubectl", "config", "current-context"], capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _say_next(plans: Sequence[Plan], folders: Sequence[Path]) -> None:
    name = plans[0].config.run.name if len(plans) == 1 else "NAME"
    where = folders[0].parent
    option = "" if where == Path("runs") else f" --dir {shlex.quote(str(where))}"
    for action, what in (("show", "state and segments"), ("logs", "what it prints"), ("cancel", "end it")):
        print(f"slipway runs {action} {name}{option}    # {what}", file=sys.stderr)
