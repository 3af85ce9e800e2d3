"""The one place where a scheduler's command is called, with a timeout. No answer is a state to report, not an error."""

import os
from collections.abc import Mapping, Sequence

from slipway import commands
from slipway.launch.leftovers import for_slurms_programs

SECONDS = 10.0


class SchedulerUnavailable(Exception):
    """The scheduler did not answer; the text says why, such as `squeue not found`."""


def ask(command: Sequence[str], variables: Mapping[str, str] | None = None, seconds: float = SECONDS) -> str:
    """Return the standard output of a command.

    Raises SchedulerUnavailable if the command is missing, takes longer than `seconds`, or fails.
    """
    variables = {
        **for_slurms_programs(os.environ),
        **(variables or {}),
    }  # kubectl reads none of the variables excluded here
    try:
        done = commands.call(command, seconds=seconds, environment=variables)
    except commands.NotRun as error:
        raise SchedulerUnavailable(str(error)) from None
    if done.code:
        program = command[0]
        raise SchedulerUnavailable(done.last if done.last.startswith(program) else f"{program}: {done.last}")
    return done.output
