"""The lock of a run directory: one run, one trainer.

The first witness is a POSIX lock on run.dir/.lock, held by the process that starts the run for as long as it lives.
The second witness, for file systems that do not share locks between nodes, is run.dir/.lock.holder, which names the
holder and whose time is renewed every few seconds. If the time does not move for STALE_SECONDS, the run is taken
over.
"""

import os
import time
from pathlib import Path
from typing import NoReturn

from slipway import files
from slipway.errors import Fault, UserError
from slipway.run_dir import RunDir
from slipway.runs.lock import holder as holder_file
from slipway.runs.lock import posix as posix_lock
from slipway.runs.lock.holder import STALE_SECONDS, Holder, is_own

LOOK_SECONDS = 0.5  # between two looks at another machine's heartbeat
NAMELESS_SECONDS = 3.0
"""The time a holder may be without a name: it writes it once it has the lock, and removes it before release."""


class LostLock(RuntimeError):
    """Another process has taken the run over: this one did not renew its heartbeat for too long."""


class RunLock:
    """A run held by this process, until `release` or its end."""

    def __init__(self, run_dir: Path, descriptor: int, me: Holder) -> None:
        self.run_dir, self.me, self._descriptor = run_dir, me, descriptor

    def beat(self) -> None:
        """Show that the holder is alive.

        Raises LostLock if the run has another holder now, and OSError or Unreadable.
        """
        found = holder_file.read(self.run_dir)
        if found is None or found[0].machine == "?":  # removed, or overwritten by no trainer
            holder_file.write(self.run_dir, self.me)
        elif found[0] != self.me:
            raise LostLock(f"{self.run_dir} was taken over by {found[0]}")
        else:
            os.utime(RunDir(self.run_dir).holder)

    def release(self) -> None:
        """Let others train the run. Does nothing in a forked child, which holds nothing."""
        if os.getpid() != self.me.pid:
            return
        try:
            found = holder_file.read(self.run_dir)
            if found is not None and found[0] == self.me:
                files.remove(RunDir(self.run_dir).holder)
        except files.Unreadable:
            pass  # no process renews it any more: it is stale in a minute
        finally:
            posix_lock.release(self._descriptor)


def check_free(run_dir: Path) -> None:
    """Raise UserError if a process is known to train the run, and Fault if it is an earlier pod of the same run."""
    if _is_held(run_dir):
        _refuse(run_dir)


def take(run_dir: Path, stale_seconds: float = STALE_SECONDS) -> RunLock:
    """Take the run. Raises UserError, naming the holder, if another process trains it.

    If another machine's name is fresh and its lock cannot be seen, wait until its heartbeat moves (refused) or is
    stale_seconds old (taken over). Return the lock.
    """
    try:
        files.make_folder(run_dir)
        descriptor, outcome = posix_lock.take(RunDir(run_dir).lock)
        if outcome == "held" and not _is_held(run_dir):
            descriptor, outcome = posix_lock.take(RunDir(run_dir).lock)
    except OSError as error:
        raise UserError(
            "run.dir",
            f"cannot be written ({files.reason(error)})",
            value=run_dir,
            do="make it writable, then run the same command again",
        ) from None
    if outcome == "held":
        _refuse(run_dir)
    me = Holder.here(locked=outcome == "taken")
    try:
        _outlast_other(run_dir, me, stale_seconds)
        holder_file.write(run_dir, me)
    except BaseException as error:
        posix_lock.release(descriptor)
        if isinstance(error, OSError):
            raise UserError(
                "run.dir",
                f"cannot be written ({files.reason(error)})",
                value=run_dir,
                do="make it writable, then run the same command again",
            ) from None
        raise
    _sweep(run_dir)
    return RunLock(run_dir, descriptor, me)


def holder_of(run_dir: Path, now: float) -> Holder | None:
    """Return who trains the run now (Unix seconds), for readers.

    None: nobody. If a process holds the lock without a name, the holder is a nameless one.
    """
    found = holder_file.read(run_dir)
    if posix_lock.is_held(RunDir(run_dir).lock):
        return found[0] if found else Holder.nameless(now)
    if found is None or (found[0].locked and found[0].machine == Holder.here().machine):
        return None  # a process on this machine would hold the lock
    # a beat from far ahead says as little as an old one: the clock that made it is wrong
    return found[0] if abs(now - found[1]) <= STALE_SECONDS else None


def _is_held(run_dir: Path) -> bool:
    """Return whether a process holds the lock.

    One without a name is about to write it, or to end: look again for up to NAMELESS_SECONDS.
    """
    deadline = time.monotonic() + NAMELESS_SECONDS
    while posix_lock.is_held(RunDir(run_dir).lock):
        if holder_file.read(run_dir) is not None or time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


def _outlast_other(run_dir: Path, me: Holder, stale_seconds: float) -> None:
    """Return when the named holder is gone; refuse the run if it is alive."""
    found = holder_file.read(run_dir)
    if found is None or (me.locked and found[0].machine == me.machine):
        return  # a process on this machine would still hold the lock
    other, beat = found
    left = stale_seconds - max(0.0, holder_file.file_system_time(run_dir) - beat)
    if left > 0:
        print(f"{run_dir} was held by {other}: waiting up to {left:.0f} s for a sign of life", flush=True)
    deadline = time.monotonic() + left
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        found = holder_file.read(run_dir)
        if found is None:
            return  # it released the run
        if found != (other, beat):
            _refuse(run_dir)
    print(f"{run_dir} taken over from {other}, silent for more than {stale_seconds:.0f} s", flush=True)


def _sweep(run_dir: Path) -> None:
    """Remove the leftovers of writes that a kill interrupted."""
    run = RunDir(run_dir)
    owned = {path.name for path in (run.plan, run.metrics, run.holder)}  # only the holder writes them
    files.sweep(run_dir, lambda name: name in owned)
    files.sweep(run.segments, lambda name: True)


def _refuse(run_dir: Path) -> NoReturn:
    found = holder_file.read(run_dir)
    who = str(found[0]) if found else "another process, which is just starting"
    if found and is_own(found[0], os.environ):
        raise Fault(
            "run.dir",
            f"is still held by {who}, an earlier pod of this run",
            value=run_dir,
            do="wait until that pod is gone",
        )
    raise UserError(
        "run.dir",
        f"is being trained by {who}, and only one process may train a run",
        value=run_dir,
        do="wait for it, end it, or choose another run.dir",
    )
