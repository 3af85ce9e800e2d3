"""Other programs, run to their end: the output of each, or the reason why it could not be run."""

import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class NotRun(Exception):
    """A program gave no answer; the text says why, such as `squeue not found`."""


class Missing(NotRun):
    """The program does not exist on this machine."""


class NoAnswer(NotRun):
    """The program was ended because its time was over: what it was to do may have been done."""


class Done(NamedTuple):
    """A program that has ended."""

    code: int
    output: str
    errors: str

    @property
    def last(self) -> str:
        """The last line of its errors, or its exit code: why it failed."""
        lines = self.errors.strip().splitlines()
        return lines[-1] if lines else f"exit code {self.code}"

    @property
    def why(self) -> str:
        """All lines of its errors as one, of bounded length, or its exit code: why it failed."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return "; ".join(lines)[-500:] or f"exit code {self.code}"


def call(
    command: Sequence[str],
    *,
    given: str = "",
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run a program to its end and return its output, whatever its exit code.

    Args:
        command: The program and its arguments; no shell takes part.
        given: Its standard input.
        seconds: The time that it has; None: any.
        environment: Its variables; None: this process's.

    Raises:
        Missing: The program is not installed.
        NoAnswer: It did not end in time.
        NotRun: Another reason of the system's; both above are NotRun, too.
    """
    program = command[0]
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment,
        )
    except FileNotFoundError:
        raise Missing(f"{program} not found") from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{program} did not answer in {seconds:.0f} s") from None
    except OSError as error:
        raise NotRun(f"{program}: {error.strerror}") from None
    return Done(done.returncode, done.stdout, done.stderr)
