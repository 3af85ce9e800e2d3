"""The edge: a scheduler's command with a time-out. What does not answer is said in words, not raised to users."""

import os
from collections.abc import Mapping, Sequence

from slipway import commands
from slipway.launch.leftovers import for_slurms_programs

SECONDS = 10.0


class SchedulerUnavailable(Exception):
    """The scheduler did not answer; the text says why, as `squeue not found`."""


def ask(command: Sequence[str], variables: Mapping[str, str] | None = None, seconds: float = SECONDS) -> str:
    """Return standard output of a command; SchedulerUnavailable where it is missing, takes too long, or fails."""
    variables = {
        **for_slurms_programs(os.environ),
        **(variables or {}),
    }  # others mind none of what is left out
    try:
        done = commands.call(command, seconds=seconds, environment=variables)
    except commands.NotRun as error:
        raise SchedulerUnavailable(str(error)) from None
    if done.code:
        program = command[0]
        raise SchedulerUnavailable(done.last if done.last.startswith(program) else f"{program}: {done.last}")
    return done.output
