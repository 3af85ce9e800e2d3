"""Real trainings in processes of their own, to be watched, stopped and killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import warm
from training import training_lines

OUTPUT = "output.txt"
TRAIN = (sys.executable, "-m", "slipway", "train")


@contextmanager
def started(
    words: list[str], folder: Path, command: Sequence[str] = TRAIN, cold: bool = False, **options: Any
) -> Iterator[subprocess.Popen[str]]:
    """`slipway train` (or another command) with these words; what is left of it is killed at the end. See output_of.

    cold: in a new interpreter, for tests of the start itself; else see warm.py.
    """
    with (folder / OUTPUT).open("w") as output:  # no pipe: a rank that cannot die would hold it open
        process = (subprocess.Popen if cold else warm.start)(
            [*command, *words],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def output_of(process: subprocess.Popen[str], folder: Path, timeout: float = 60) -> str:
    """All that was said, once the process has ended by itself."""
    process.wait(timeout)
    return (folder / OUTPUT).read_text()


def steps_done(run_dir: Path) -> int:
    """Steps in its metrics."""
    return len(training_lines(run_dir)) if (run_dir / "metrics.jsonl").exists() else 0


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90) -> None:
    """Until the condition holds or the process has ended; AssertionError after `seconds`."""
    limit = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Its ranks, in the order in which they were forked."""
    parent = psutil.Process(process.pid)
    command = parent.cmdline()
    return sorted((p for p in parent.children() if p.cmdline() == command), key=lambda p: p.pid)


def handles(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether it has a handler for a signal already."""
    mask = Path(f"/proc/{process.pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(mask, 16) >> (number - 1) & 1)


def gone(process: psutil.Process) -> bool:
    """Whether it runs no more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
