"""The submission with one call of sbatch, and the number of the job that it made."""

import os
import re
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from slipway import commands
from slipway.errors import Fault, UserError
from slipway.launch import leftovers
from slipway.launch.placement import Placement
from slipway.launch.schedulers import slurm
from slipway.launch.slurm import job_name
from slipway.launch.submission.recording import remember
from slipway.plan import Plan

SECONDS = 120.0
_NUMBER = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S*| on cluster \S+)?")


class Unanswered(Fault):
    """A program was ended because it did not answer: what it was to do may have been done."""


def submit(script: Path, plans: Sequence[Plan], placement: Placement, folders: Sequence[Path]) -> str:
    """Call sbatch once, record the submission, and return the job's number.

    Raises Fault if sbatch refuses, or if nothing tells which number it gave.
    """
    command, name = ["sbatch", "--parsable", str(script)], job_name(plans)
    began, why = time.time(), None
    try:
        said = _call(command, leftovers.submission(os.environ))
    except Unanswered as unanswered:
        said, why = "", unanswered
    except KeyboardInterrupt:
        said, why = (
            "",
            Fault(
                shlex.join(command),
                "was interrupted, but may have submitted the job",
                do="check with `squeue --me`",
            ),
        )
    job = job_number(said) or slurm.newest(name, began)
    indices = range(len(plans)) if len(plans) > 1 else [None]
    for plan, folder, index in zip(plans, folders, indices, strict=True):
        number = f"{job}_{index}" if job and index is not None else job
        remember(folder, plan, placement, command, id=number, name=name)
    if job is None:
        why = why or Fault(
            shlex.join(command),
            f"printed no job number: {' '.join(said.split())[-500:] or 'nothing'}",
            do="check with `squeue --me` before you submit again",
        )
        raise why.replaced(
            problem=f"{why.problem}; the run counts as submitted while a job of its name is in the queue",
            do=f"look for the job with `squeue --me --name={shlex.quote(name)}`",
        )
    return job if len(plans) == 1 else f"{job}_[0-{len(plans) - 1}]"


def job_number(said: str) -> str | None:
    """Return the number in sbatch's output: the last line of that form, as a site's wrapper may print more.

    None: no number.
    """
    found = [_NUMBER.fullmatch(line.strip()) for line in said.splitlines()]
    return next((one[1] for one in reversed(found) if one), None)


def _call(command: Sequence[str], environment: dict[str, str]) -> str:
    try:
        done = commands.call(command, seconds=SECONDS, environment=environment)
    except commands.Missing:
        raise UserError(
            command[0],
            "is not installed on this machine",
            do="launch where it is, or omit --submit and take the script there",
        ) from None
    except commands.NoAnswer:
        raise Unanswered(
            shlex.join(command), f"no answer within {SECONDS:.0f} s", do="check whether it was submitted"
        ) from None
    if done.code:
        raise Fault(shlex.join(command), done.why, do="correct what sbatch reports and submit again")
    return done.output
