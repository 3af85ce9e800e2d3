"""Names a rank that hangs, with every rank's Python stack. One thread per rank; no traffic while all is well.

Each rank watches its own progress. If it makes none for too long, it writes into run.dir/hangs/segment-N where it is,
and its stack; a rank that writes nothing is one that cannot. Another rank on its machine looks after it: SIGUSR2 makes
a rank dump its stack even while Python is stuck, SIGCONT wakes a stopped one for that. The first to have all findings
names the suspect, and all end.
"""

import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from slipway.config.schema import RunConfig
from slipway.errors import EXIT_FAULT, Fault
from slipway.ranks import awake, rendezvous
from slipway.ranks import local as ranks
from slipway.ranks.environment import Place, node_name
from slipway.run_dir import RunDir
from slipway.runs.ledger import newest_number
from slipway.train.watch import hang_report
from slipway.train.watch.hang_report import Finding

STACK_SIGNAL = signal.SIGUSR2
ANSWER_SECONDS = 1.0  # for a rank to dump its stack when asked
GATHER_SECONDS = 10.0  # for all ranks to write what they know
BUILDING_SECONDS = 3600.0  # for a large model
_MEMORY_FILE = "slipway-stack"


@dataclass(frozen=True)
class _Peer:
    """A rank's place, and the open file in which it leaves its stack when asked."""

    rank: int
    host: str
    """The name of its machine, or its pod: ranks that share one see each other's processes."""
    node: str
    """The scheduler's name for the machine: reported to people, and named as bad."""
    pid: int
    stack_file: int
    segment: int
    """The run's, as rank 0 knows it."""


class Watch:
    """Ends this process if its main thread makes no progress; see the module's text.

    Time in which the machine slept does not count.
    """

    def __init__(self, config: RunConfig, place: Place) -> None:
        minutes = config.watch.hang_timeout_minutes
        self.run_dir, self.place = config.run.dir, place
        self.limit = None if minutes is None else 60 * minutes
        self.step, self.what, self.count = 0, "starting", 0
        self.since = awake.now()
        self.allowed: float | None = 60 + rendezvous.LIMIT_SECONDS  # torch's own message comes first
        self.main = threading.get_ident()
        self.stack_file = os.memfd_create(_MEMORY_FILE)
        # only the main thread, which alone gets the signal: walking the others while they run may crash
        faulthandler.register(STACK_SIGNAL, file=self.stack_file, all_threads=False, chain=False)
        self.peers: list[_Peer] = []
        self._stop, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def meet(self) -> None:
        """Exchange addresses with the other ranks; all call it once they are connected."""
        segment = newest_number(self.run_dir) if self.place.rank == 0 else 0
        me = _Peer(
            self.place.rank,
            socket.gethostname(),
            node_name(os.environ),
            os.getpid(),
            self.stack_file,
            segment,
        )
        peers: list[_Peer] = [me] * self.place.world_size
        torch.distributed.all_gather_object(peers, me)
        self.me = me
        self.folder = RunDir(self.run_dir).hangs / f"segment-{peers[0].segment:04d}"
        self.peers = peers
        self.at(0, "building the model", BUILDING_SECONDS)

    def at(self, step: int, what: str, limit: float | None = None) -> None:
        """Note progress of the main thread: what it does now, and how long that may take (default: the limit).

        Does not return once this rank has begun to report a hang: a rank that was woken for its stack must not train on
        with others that are about to end.
        """
        if self._ends.is_set():
            threading.Event().wait()
        self.allowed = (limit or self.limit) if self.limit else None
        self.step, self.what = step, what
        self.count += 1
        self.since = awake.now()

    def stop(self) -> None:
        """Stop watching and release the signal and the file."""
        self._stop.set()
        self._thread.join()
        faulthandler.unregister(STACK_SIGNAL)
        os.close(self.stack_file)

    def _run(self) -> None:
        pause = min(1.0, (self.limit or 60.0) / 10)
        while not self._stop.wait(pause):
            since, allowed = self.since, self.allowed
            if allowed is not None and awake.now() - since > allowed:
                self._end()

    def _end(self) -> None:
        """Write down what this rank knows, wait for the others' findings, name the suspect, end the process."""
        self._ends.set()
        try:
            self._tell()
        finally:
            os._exit(EXIT_FAULT)

    def _tell(self) -> None:
        if not self.peers:
            ranks.tell(
                Fault(
                    f"rank {self.place.rank}",
                    f"not all ranks connected within {self.allowed:.0f} s",
                    do="check that all nodes run and can reach each other",
                )
            )
            return
        deadline = time.monotonic() + GATHER_SECONDS
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_own()
        time.sleep(2 * ANSWER_SECONDS)
        self._look_after_others(deadline)
        everyone = range(self.place.world_size)
        while time.monotonic() < deadline and not all(self._is_written(rank) for rank in everyone):
            time.sleep(0.1)
        nodes = {peer.rank: peer.node for peer in self.peers}
        report = hang_report.conclude(self.run_dir, self.folder, nodes, self.step, time.time())
        if report is not None:  # this rank was the first
            ranks.tell(report)
        else:
            time.sleep(ANSWER_SECONDS)  # the parent hears the first one first

    def _is_written(self, rank: int) -> bool:
        """Return whether a rank's finding and stack exist.

        Whoever concludes first ends all ranks, also those that are being asked.
        """
        return hang_report.has_word(self.folder, rank) and self._stack_of(rank).exists()

    def _write_own(self) -> None:
        frame = sys._current_frames().get(self.main)
        at = "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        with contextlib.suppress(FileExistsError), self._open_stack(self.me.rank) as file:
            faulthandler.dump_traceback(file=file, all_threads=True)
        self._write(self.me, "own", at, awake.now() - self.since)

    def _look_after_others(self, deadline: float) -> None:
        """Ask the ranks of this machine that have written nothing; only its first rank that gets here does so."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.folder / f"asker-{self.me.host}", os.O_CREAT | os.O_EXCL))
            for peer in self.peers:
                if peer.host == self.me.host and not hang_report.has_word(self.folder, peer.rank):
                    self._ask(peer, deadline)

    def _ask(self, peer: _Peer, deadline: float) -> None:
        try:
            process = psutil.Process(peer.pid)
            status = process.status()
            stack = _dumped(process, peer.stack_file, ANSWER_SECONDS)
            state = "answers" if stack else status
            if not stack:
                self._write(peer, state, "", None)  # before it is awake and writes its own finding
                process.send_signal(signal.SIGCONT)
                left = (deadline - time.monotonic()) / 2  # it may have been swapped out
                stack = _dumped(process, peer.stack_file, max(ANSWER_SECONDS, left))
        except (psutil.Error, OSError) as error:
            self._write(peer, "gone", f"{type(error).__name__}: {error}", None)
            with contextlib.suppress(FileExistsError), self._open_stack(peer.rank) as file:
                file.write("no stack: the process is gone\n")
            return
        with contextlib.suppress(FileExistsError), self._open_stack(peer.rank) as file:
            file.write(stack or "no stack: it did not answer\n")
        self._write(peer, state, hang_report.innermost(stack) or "an unknown place", None)

    def _open_stack(self, rank: int):  # noqa: ANN202 - a text file
        return self._stack_of(rank).open("x")

    def _stack_of(self, rank: int) -> Path:
        return self.folder / f"rank-{rank:05d}.txt"

    def _write(self, peer: _Peer, state: str, at: str, seconds: float | None) -> None:
        mine = peer is self.me
        hang_report.write(
            self.folder,
            Finding(
                rank=peer.rank,
                host=peer.node,
                pid=peer.pid,
                state=state,
                at=at,
                step=self.step if mine else None,
                what=self.what if mine else None,
                count=self.count if mine else None,
                seconds=seconds,
            ),
        )


def _signal_main_thread(pid: int) -> None:
    """Send STACK_SIGNAL to a process's main thread, whose number is the process's own. Raises OSError.

    If a process was stopped, any of its threads may take a signal that is sent to all of it: the watch's own, which
    would show its own stack, or one that is not Python's, which has none.
    """
    if ctypes.CDLL(None, use_errno=True).tgkill(pid, pid, int(STACK_SIGNAL)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _dumped(process: psutil.Process, descriptor: int, seconds: float) -> str:
    """Return what a rank writes into its stack file when it is asked for its stack; empty if it does not answer."""
    path = f"/proc/{process.pid}/fd/{descriptor}"
    if _MEMORY_FILE not in os.readlink(path):  # another process has this number by now
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        file.seek(0, os.SEEK_END)
        _signal_main_thread(process.pid)
        limit = time.monotonic() + seconds
        text = ""
        while time.monotonic() < limit:
            time.sleep(0.05)
            more = file.read()
            if text and not more:
                break
            text += more
    return text
