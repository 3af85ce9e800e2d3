"""The edge at which commands run: each is printed exactly as it is run; a dry run prints only."""

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
    """Raise UserError, in one line that says what to do, where a program is missing."""
    if shutil.which(program) is None:
        raise UserError(
            f"image {purpose}", f"needs {program}, which is not installed on this machine", do=ADVICE[program]
        )


def of_python(program: str, purpose: str) -> str:
    """Return how to call a program that a Python package brings: from PATH, or from beside this Python."""
    beside = Path(sys.executable).with_name(program)
    if shutil.which(program) is None and beside.is_file():
        return str(beside)
    need(program, purpose)
    return program


def text(command: Sequence[str]) -> str:
    """Return the command as a shell takes it."""
    return f"+ {shlex.join(command)}"


def say(command: Sequence[str]) -> None:
    """Print a command before it runs, on standard error: standard output is for answers."""
    print(text(command), file=sys.stderr, flush=True)


def run(command: Sequence[str], dry_run: bool = False, environment: Mapping[str, str] | None = None) -> None:
    """Print a command and run it; Fault where it fails. All it says goes to standard error."""
    say(command)
    if dry_run:
        return
    done = subprocess.run(command, env=environment, stdout=sys.stderr)
    if done.returncode:
        raise Fault(
            f"`{shlex.join(command[:3])} ...`", f"exited with code {done.returncode}; see its output above"
        )


def code_of(command: Sequence[str], dry_run: bool = False) -> int:
    """Print a command, run it and return its exit code: where failing is an answer."""
    say(command)
    return 0 if dry_run else subprocess.run(command).returncode


def answer(command: Sequence[str]) -> str:
    """Return what a command that changes nothing prints; Fault with its last words where it fails. Said to nobody."""
    done = commands.call(command)
    if done.code:
        raise Fault(f"`{shlex.join(command)}`", f"exited with code {done.code}: {done.last}")
    return done.output.strip()
