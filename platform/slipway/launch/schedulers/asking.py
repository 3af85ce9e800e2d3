"""The edge: a scheduler's command with a time-out. What does not answer is said in words, not raised to users."""

import os
import subprocess
from collections.abc import Mapping, Sequence

from slipway.launch.leftovers import for_slurms_programs

SECONDS = 10.0


class Silent(Exception):
    """The scheduler did not answer; the text says why, as `squeue not found`."""


def ask(command: Sequence[str], variables: Mapping[str, str] | None = None, seconds: float = SECONDS) -> str:
    """Standard output of a command; Silent where it is missing, takes too long, or fails."""
    program = command[0]
    environment = for_slurms_programs(os.environ)  # others mind none of what is left out
    try:
        done = subprocess.run(
            command,
            env={**environment, **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except FileNotFoundError:
        raise Silent(f"{program} not found") from None
    except subprocess.TimeoutExpired:
        raise Silent(f"{program} did not answer in {seconds:.0f} s") from None
    except OSError as error:
        raise Silent(f"{program}: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise Silent(last if last.startswith(program) else f"{program}: {last}")
    return done.stdout
