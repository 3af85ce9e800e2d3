"""Starting ranks as children of this process.

The parent imports torch and Megatron-core once and forks the ranks: eight ranks on two cores
reach their first step several times sooner than eight interpreters would.
"""

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from slipway.errors import EXIT_CONTINUE, EXIT_DONE, EXIT_FAULT, EXIT_USER_ERROR, UserError
from slipway.train.environment import Place, listening_socket
from slipway.train.stopping import SIGNALS, listen

GRACE_SECONDS = 3.0  # for the other ranks to say what they saw


@dataclass
class _Child:
    rank: int
    pid: int
    errors: int  # read end of the pipe on which the child reports how it failed


def run_local(world_size: int, log_dir: Path, body: Callable[[Place], int]) -> int:
    """Fork `world_size` ranks, run body(place) in each, and wait. Returns the exit code.

    That is 0 or EXIT_CONTINUE where every body returned one of these, else a failure's: the first rank that fails
    ends all others, and its error is printed. SIGUSR1, SIGTERM and the first SIGINT are handed to the ranks, which
    note them and stop at a step boundary; a second SIGINT ends everything at once. Rank 0 keeps the terminal; the
    others write into log_dir.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    listener = listening_socket()
    port = listener.getsockname()[1]
    gc.collect()
    gc.freeze()  # what the ranks share stays shared
    children: list[_Child] = []
    sys.stdout.flush()
    sys.stderr.flush()
    for rank in range(world_size):
        place = Place(rank, rank, world_size, "127.0.0.1", port, listener.fileno())
        read_end, write_end = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            _child(place, parent, log_dir, write_end, body)
        os.close(write_end)
        children.append(_Child(rank, pid, read_end))
    listener.close()
    before = _hand_on([child.pid for child in children])
    try:
        return _wait(children)
    except BaseException:
        _end([child.pid for child in children])
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _child(place: Place, parent: int, log_dir: Path, errors: int, body: Callable[[Place], int]) -> NoReturn:
    code = 0
    try:
        _die_with(parent)
        listen()
        if place.rank != 0:
            log = os.open(
                log_dir / f"rank-{place.rank:05d}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644
            )
            os.dup2(log, 1)
            os.dup2(log, 2)
        code = body(place)
    except BaseException as error:
        user = isinstance(error, UserError)
        code = EXIT_USER_ERROR if user else EXIT_FAULT
        text = str(error) if user else traceback.format_exc()[-20_000:]  # less than a pipe holds
        with contextlib.suppress(OSError):
            os.write(errors, json.dumps({"time": time.time(), "user": user, "text": text}).encode())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    """Linux: end this process when its parent ends, however that ended."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(EXIT_FAULT)


def _wait(children: list[_Child]) -> int:
    """Wait for all; on the first failure give the others a moment to report, end them, and print the cause."""
    running = {child.pid: child for child in children}
    ended: dict[int, int] = {}  # rank -> wait status
    deadline = None
    while running:
        pid, status = _wait_for(running, deadline)
        if pid == 0:
            break
        child = running.pop(pid)
        ended[child.rank] = status
        if _is_failure(status) and deadline is None:
            deadline = time.monotonic() + GRACE_SECONDS
    _end(list(running))
    failed = {rank: status for rank, status in ended.items() if _is_failure(status)}
    if not failed:
        return max(os.waitstatus_to_exitcode(status) for status in ended.values())
    return _explain(children, failed)


def _wait_for(running: Mapping[int, _Child], deadline: float | None) -> tuple[int, int]:
    """The next of our children that ends (pid, status); (0, 0) where none does before the deadline."""
    while True:
        for pid in running:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return done, status
        if deadline is not None and time.monotonic() > deadline:
            return 0, 0
        time.sleep(0.02)


def _is_failure(status: int) -> bool:
    return os.waitstatus_to_exitcode(status) not in (EXIT_DONE, EXIT_CONTINUE)


def _hand_on(ranks: list[int]) -> dict[signal.Signals, Any]:
    """Give the ranks the signals that ask this process to stop; returns the handlers before."""

    def hand_on(number: int, frame: object) -> None:
        if number == signal.SIGINT:  # the next one means now
            signal.signal(signal.SIGINT, signal.default_int_handler)
            print("stopping after this step; once more to end at once", file=sys.stderr, flush=True)
        for pid in ranks:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    return {number: signal.signal(number, hand_on) for number in SIGNALS}


def _explain(children: list[_Child], failed: Mapping[int, int]) -> int:
    reports = {}
    for child in children:
        with os.fdopen(child.errors, "rb") as pipe:
            text = pipe.read()
        if text:
            reports[child.rank] = json.loads(text)
    # a rank that a signal ended reports nothing, and is the cause of what the others report
    for rank, status in failed.items():
        if os.WIFSIGNALED(status) and rank not in reports:
            name = signal.Signals(os.WTERMSIG(status)).name
            print(f"slipway: rank {rank} was ended by {name}; the other ranks were stopped", file=sys.stderr)
            return EXIT_FAULT
    rank = min(reports, key=lambda r: reports[r]["time"])
    if reports[rank]["user"]:
        print(f"slipway: {reports[rank]['text']}", file=sys.stderr)
        return EXIT_USER_ERROR
    print(
        f"slipway: rank {rank} failed first; the other ranks were stopped\n{reports[rank]['text']}",
        file=sys.stderr,
    )
    return EXIT_FAULT


def _end(pids: list[int]) -> None:
    """Kill and reap: what ranks hold is in the last checkpoint, and a SIGTERM would only be noted."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    limit = time.monotonic() + GRACE_SECONDS
    while (pids := [pid for pid in pids if not _reaped(pid)]) and time.monotonic() < limit:
        time.sleep(0.02)


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
