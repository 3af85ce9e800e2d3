"""The one place where commands run: each is printed exactly as it is run; a dry run only prints."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from slipway import commands
from slipway.errors import Fault, UserError

ADVICE = {
    "podman": "install podman (distribution package `podman`) or Docker",
    "docker": "install Docker or podman, or omit --engine",
    "apptainer": "install Apptainer 1.2 or newer (distribution package `apptainer`)",
    "singularity": "install Apptainer 1.2 or newer, whose package has this name for it too",
    "syft": "install it with pip install 'slipway[image]'",
}


def need(program: str, purpose: str) -> None:
    """Raise UserError, in one line that says what to do, if a program is missing."""
    if shutil.which(program) is None:
        raise UserError(
            f"image {purpose}", f"needs {program}, which is not installed on this machine", do=ADVICE[program]
        )


def of_python(program: str, purpose: str) -> str:
    """Return the path of a program that a Python package installs: from PATH, or from beside this Python.

    Raises UserError if it is in neither.
    """
    beside = Path(sys.executable).with_name(program)
    if shutil.which(program) is None and beside.is_file():
        return str(beside)
    need(program, purpose)
    return program


def text(command: Sequence[str]) -> str:
    """Return the command as one would type it into a shell."""
    return f"+ {shlex.join(command)}"


def say(command: Sequence[str]) -> None:
    """Print a command before it runs, on standard error: standard output is for answers."""
    print(text(command), file=sys.stderr, flush=True)


def run(command: Sequence[str], dry_run: bool = False, environment: Mapping[str, str] | None = None) -> None:
    """Print a command and run it, with all its output on standard error. Raises Fault if it fails."""
    say(command)
    if dry_run:
        return
    done = subprocess.run(command, env=environment, stdout=sys.stderr)
    if done.returncode:
        raise Fault(
            f"`{shlex.join(command[:3])} ...`",
            f"exited with code {done.returncode}",
            do="see its output above",
        )


def code_of(command: Sequence[str], dry_run: bool = False) -> int:
    """Print a command, run it and return its exit code, for commands whose failure is an answer."""
    say(command)
    return 0 if dry_run else subprocess.run(command).returncode


def answer(command: Sequence[str]) -> str:
    """Return the output of a command that changes nothing; the command is not printed.

    Raises Fault, with the last line of its errors, if it fails.
    """
    done = commands.call(command)
    if done.code:
        raise Fault(
            f"`{shlex.join(command)}`",
            f"exited with code {done.code}: {done.last}",
            do="run that command by itself to see all of its output",
        )
    return done.output.strip()
