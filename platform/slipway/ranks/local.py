"""The start of ranks as children of this process.

The parent imports torch and Megatron-core once and forks the ranks: eight ranks on two cores reach their first step
several times sooner than eight interpreters would.
"""

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never, NoReturn

from slipway import system_errors
from slipway.errors import EXIT_CONTINUE, EXIT_DONE, EXIT_FAULT, EXIT_USER_ERROR, Fault, Stopped, UserError
from slipway.ranks import rendezvous, signals
from slipway.ranks.environment import Node, Place
from slipway.ranks.starting import not_counted
from slipway.run_dir import rank_log

GRACE_SECONDS = 3.0  # for the other ranks to report what they saw
PIPE_BYTES = 1 << 16  # the capacity of a pipe on Linux: more than any report
_parent: int | None = None  # in a rank that run_local started: the pipe on which it reports how it failed


@dataclass
class _Child:
    rank: int
    pid: int
    errors: int  # read end of the pipe on which the child reports how it failed


def run_local(world_size: int, log_dir: Path, body: Callable[[Place], int], node: Node | None = None) -> int:
    """Fork this machine's ranks, run body(place) in each, and wait. Return EXIT_DONE or EXIT_CONTINUE, as they did.

    node: None if all ranks of the world run here; else this node's equal share of them does, and node 0 is found
    first.

    The first rank that fails ends all others here; its UserError is raised, or a Fault that says what happened.
    SIGUSR1, SIGTERM, SIGHUP and the first SIGINT are passed on to the ranks, which note them and stop at a step
    boundary; ranks that still wait for others end at once, and so does this process (Stopped). A second SIGINT ends
    everything at once. The first rank here keeps the terminal; the others write into log_dir.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    with not_counted():
        endpoint = rendezvous.meet(node)
    gc.collect()
    gc.freeze()  # what the ranks share stays shared
    children: list[_Child] = []
    sys.stdout.flush()
    sys.stderr.flush()
    before = {number: signal.getsignal(number) for number in signals.heard()}
    signals.note()  # signals that come while this forks are passed on below
    for place in _places(world_size, node, endpoint):
        read_end, write_end = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            _child(place, parent, log_dir, write_end, body)
        os.close(write_end)
        children.append(_Child(place.rank, pid, read_end))
    if endpoint.listener:
        endpoint.listener.close()
    running = {child.pid: child for child in children}
    _hand_on(running)
    try:
        return _wait(children, running)
    except BaseException:
        _end([child.pid for child in children])
        raise
    finally:
        for child in children:
            os.close(child.errors)
        for number, handler in before.items():
            signal.signal(number, handler)


def _places(world_size: int, node: Node | None, endpoint: rendezvous.Endpoint) -> list[Place]:
    """Return the places of the ranks to start here."""
    nodes, number = (node.nodes, node.node_rank) if node else (1, 0)
    here = world_size // nodes
    listener = endpoint.listener.fileno() if endpoint.listener else None
    return [
        Place(number * here + i, i, world_size, endpoint.host, endpoint.port, here, True, listener)
        for i in range(here)
    ]


def _child(place: Place, parent: int, log_dir: Path, errors: int, body: Callable[[Place], int]) -> NoReturn:
    global _parent
    _parent, code = errors, 0
    try:
        die_with(parent)
        signals.note()
        if place.local_rank != 0:
            path = rank_log(log_dir, place.rank)
            log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
        code = body(place)
    except BaseException as error:
        user = isinstance(error, UserError)
        code = EXIT_USER_ERROR if user else EXIT_FAULT
        if user or isinstance(error, Fault):
            _report("user" if user else "line", parts=error.parts())
        elif isinstance(error, OSError):
            _report("line", parts=system_errors.explained(error).parts())
        else:
            _report("traceback", traceback.format_exc()[-20_000:])
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def tell(fault: Fault) -> None:
    """Report why this rank is about to end: to the parent that started it, or in one line on standard error."""
    if _parent is None:
        print(f"slipway: {fault}", file=sys.stderr, flush=True)
    else:
        _report("verdict", parts=fault.parts())


def leave(name: str) -> None:
    """End this rank at once: a signal has come while it waits for others, and there is nothing to save."""
    if _parent is None:
        with contextlib.suppress(OSError, ValueError):
            print(f"slipway: {Stopped(name)}", file=sys.stderr, flush=True)
    else:
        _report("stopped", name)
    os._exit(EXIT_CONTINUE)


def _report(kind: str, text: str = "", parts: Mapping[str, str | None] | None = None) -> None:
    """Write a report to the parent. parts: those of a UserError or Fault."""
    assert _parent is not None
    report = {"time": time.time(), "kind": kind, "text": text, "parts": parts}
    with contextlib.suppress(OSError):
        os.write(_parent, json.dumps(report).encode() + b"\n")


def die_with(parent: int) -> None:
    """End this process when its parent ends, however that happens (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(EXIT_FAULT)


def _wait(children: list[_Child], running: dict[int, _Child]) -> int:
    """Wait for all ranks; on the first failure give the others a moment to report, end them, and raise the cause.

    Return the highest exit code. running: the ranks that have not ended, by process; kept up to date.
    """
    ended: dict[int, int] = {}  # rank -> wait status
    reports: dict[
        int, dict[str, Any]
    ] = {}  # of ranks that failed; one may hang in the kernel after its report
    deadline = None
    while running and (deadline is None or time.monotonic() < deadline):
        for pid, child in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                ended[child.rank] = status
                del running[pid]
        reports |= _reports(children, reports)
        failing = reports or any(_is_failure(status) for status in ended.values())
        if failing and deadline is None:
            deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(0.02)
    reports |= _reports(children, reports)
    _end(list(running))
    failed = {rank: status for rank, status in ended.items() if _is_failure(status)}
    if not failed and not reports:
        return max(os.waitstatus_to_exitcode(status) for status in ended.values())
    _explain(reports, failed)


def _reports(children: list[_Child], known: Mapping[int, Any]) -> dict[int, dict[str, Any]]:
    """Return the first reports from ranks that are not in `known`; a rank writes each report in one piece."""
    waiting = {child.errors: child.rank for child in children if child.rank not in known}
    found = {}
    for pipe in select.select(list(waiting), [], [], 0)[0]:
        if text := os.read(pipe, PIPE_BYTES):
            found[waiting[pipe]] = json.loads(text.splitlines()[0])
    return found


def _is_failure(status: int) -> bool:
    return os.waitstatus_to_exitcode(status) not in (EXIT_DONE, EXIT_CONTINUE)


def _hand_on(running: Mapping[int, _Child]) -> None:
    """Pass signals that ask this process to stop on to the running ranks, including those that came while it forked."""

    def hand_on(number: int, frame: object) -> None:
        for pid in list(running):
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        if number == signal.SIGINT and running:  # the next one means now
            signal.signal(signal.SIGINT, end_now)
            print("stopping after this step; once more to end at once", file=sys.stderr, flush=True)

    def end_now(number: int, frame: object) -> None:
        if running:
            signals.ignore()
            raise KeyboardInterrupt

    for number in signals.heard():
        signal.signal(number, hand_on)
    for number in list(signals.received):
        hand_on(number, None)


def _explain(reports: Mapping[int, dict[str, Any]], failed: Mapping[int, int]) -> Never:
    """Raise the error that a failed rank has reported: UserError, Fault or Stopped. A traceback is printed first."""
    for report in reports.values():
        if report["kind"] == "verdict":  # the rank that reports it has looked at all ranks
            raise Fault(**report["parts"])
    # a rank that a signal ended reports nothing, and is the cause of what the others report
    for rank, status in failed.items():
        if os.WIFSIGNALED(status) and rank not in reports:
            name = signal.Signals(os.WTERMSIG(status)).name
            raise Fault(
                f"rank {rank}",
                f"was ended by {name}; the other ranks were stopped",
                do=f"see logs/rank-{rank:05d}.log; SIGKILL often means that memory ran out",
            )
    if not reports:
        rank = min(failed)
        raise Fault(f"rank {rank}", "exited without an error message", do=f"see logs/rank-{rank:05d}.log")
    rank = min(reports, key=lambda r: reports[r]["time"])
    kind, text, parts = reports[rank]["kind"], reports[rank]["text"], reports[rank]["parts"]
    if kind == "user":
        raise UserError(**parts)
    if kind == "stopped":
        raise Stopped(text)
    if kind == "line":
        raise Fault(**parts)
    print(text, file=sys.stderr)
    raise Fault(f"rank {rank}", "failed first; the other ranks were stopped", do="see its traceback above")


def _end(pids: list[int]) -> None:
    """Kill and reap ranks: their state is in the last checkpoint, and a SIGTERM would only be noted."""
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
