"""Runs a part in a process of its own, which is ended with all that it has started when its time is over."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

LOOK_SECONDS = 0.1


def ended_in(
    command: Sequence[str], seconds: float, log: Path, environment: dict[str, str], cwd: Path
) -> int | None:
    """Run a command to its end; return its exit code, or None if it took longer and was ended.

    It gets a session of its own, so that a Ctrl-C is ours, and what is left of it is killed in any case, also what has
    begun a session itself.

    Args:
        command: The program and its arguments.
        seconds: The time that it has.
        log: Where its output goes.
        environment: Its variables.
        cwd: Its folder.
    """
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
    seen: set[psutil.Process] = set()
    try:
        return _wait(process, seconds, lambda: seen.update(_children(process.pid)))
    finally:
        seen |= _children(process.pid)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for one in seen:  # psutil checks its identity, so no other process with the same number is killed
            with suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(list(seen), timeout=5)  # then their memory on the devices is free for the next part
        process.wait()


def _wait(process: subprocess.Popen, seconds: float, look: Callable[[], object]) -> int | None:
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        look()  # at its children: those whose parent has ended cannot be found later
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK_SECONDS)
    return process.returncode


def _children(pid: int) -> set[psutil.Process]:
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return set()
