"""Signals that ask a training to end, from the command's first moment to its last. Imports nothing heavy.

Before anything has begun, they end the command at once, with the exit code of a run that continues; SIGUSR1, a
scheduler's warning, is kept for the ranks, which still do one step. While ranks train, they are noted, and heeded at
a step boundary. Once the outcome is known, they change nothing.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slipway.errors import Stopped

KINDS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# for ranks that are about to meet, so that a step and a checkpoint are still done; a warning leaves more time for it
PATIENCE_SECONDS = {signal.SIGUSR1: 10.0}
PATIENCE_OF_OTHERS = 5.0

received: set[int] = set()


def _age() -> float:
    """Return the age of this process in seconds, by clocks that nobody sets; 0 if Linux does not tell."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, AttributeError):
        return 0.0


began = time.monotonic() - _age()
"""The time at which the command began (time.monotonic); its ranks know it, too."""
_trained = False  # whether this process has had a training already
_owner: int | None = None  # the process that a signal ends at once; None: signals are only noted
_heard: list[signal.Signals] = []


def begin() -> None:
    """Let signals end this process at once from now on, except SIGUSR1, which is kept.

    Call it before the large imports.

    Raises Stopped if a signal asked an earlier training of this process to end, and came too late for it.
    """
    global _owner, began
    if _owner == os.getpid():
        return
    if _trained:
        began = time.monotonic()
    _owner = os.getpid()
    _handle()
    check(signal.SIGTERM, signal.SIGHUP)


def note() -> None:
    """Note signals from now on without ending anything: all ranks heed them at the same step boundary."""
    global _owner, _trained
    _owner, _trained = None, True
    _handle()


def ignore() -> None:
    """Ignore signals from now on: otherwise Python would give them their effect back while it exits."""
    for number in KINDS:
        signal.signal(number, signal.SIG_IGN)


def heard() -> list[signal.Signals]:
    """Return the signals that count here: not SIGHUP if nohup, or whoever started the command, ignores it."""
    if not _heard:
        hung_up = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
        _heard.extend(number for number in KINDS if number != signal.SIGHUP or hung_up)
    return _heard


def check(*numbers: int) -> None:
    """Raise Stopped if one of these signals (default: any) has come."""
    for number in received.intersection(numbers or KINDS):
        raise Stopped(name(number))


def name(number: int) -> str:
    """Return a signal's name, such as SIGTERM."""
    return signal.Signals(number).name


@contextlib.contextmanager
def heeded(leave: Callable[[str], None]) -> Iterator[None]:
    """Call leave(name) from another thread if a signal comes while the main thread waits in C, where no handler runs.

    It is not called at once: ranks that find each other within PATIENCE_SECONDS still do a step.
    """
    heard()
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    over = threading.Event()

    def listen() -> None:
        while number := os.read(ear, 1)[0]:
            patience = PATIENCE_SECONDS.get(signal.Signals(number), PATIENCE_OF_OTHERS)
            if number in _heard and not over.wait(patience):
                leave(name(number))

    before = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    os.write(mouth, bytes(received))
    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.write(mouth, b"\0")
        thread.join()
        os.close(ear)
        os.close(mouth)


def _handle() -> None:
    for number in heard():
        signal.signal(number, _act)


def _act(number: int, frame: Any) -> None:
    if _owner is not None and os.getpid() != _owner:  # a helper that was forked in the meantime
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    received.add(number)
    if _owner is None or number == signal.SIGUSR1:
        return
    if number == signal.SIGINT:
        received.discard(number)
        raise KeyboardInterrupt
    raise Stopped(name(number))
