"""The energy that Slurm accounts for jobs, if the site lets it gather any (AcctGatherEnergyType)."""

import re
from collections.abc import Iterable

from slipway.launch.schedulers.asking import SchedulerUnavailable, ask

_LINE = re.compile(r"(\d+(?:[_+]\w+)?)(?:\.\w+)?\|(\d+)")
_NO_VALUE = 2**63
"""Slurm prints its mark for `no value`, 2**64 - 2, as a number."""


def command(ids: Iterable[str]) -> list[str]:
    """Return one sacct command for all jobs and their steps."""
    return [
        "sacct",
        "--noheader",
        "--parsable2",
        f"--jobs={','.join(ids)}",
        "--format=JobID,ConsumedEnergyRaw",
    ]


def read(text: str) -> dict[str, float]:
    """Return joules by job: the largest value among each job's lines.

    The steps of a job count the same nodes, one after the other. Jobs without a value are left out.
    """
    found: dict[str, float] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match and 0 < (joules := int(match[2])) < _NO_VALUE:
            found[match[1]] = max(found.get(match[1], 0.0), float(joules))
    return found


def joules(ids: Iterable[str]) -> dict[str, float]:
    """Return joules by job; empty if no accounts are kept or sacct does not answer."""
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return {}
    try:
        found = read(ask(command(wanted)))
    except SchedulerUnavailable:
        return {}
    return {job: value for job, value in found.items() if job in wanted}
