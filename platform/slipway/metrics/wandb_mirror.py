"""wandb as a mirror of metrics.jsonl. A process of its own talks to it, so it can neither end nor block a training."""

import contextlib
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway import files
from slipway.metrics.wandb_access import one_line
from slipway.plan import Plan
from slipway.run_dir import RunDir

INIT_SECONDS = 15.0  # for the server's first answer
START_SECONDS = 25.0  # for that, and for the process to begin
LAST_START_SECONDS = 10.0  # the same, once training is over
UPLOAD_SECONDS = 20.0  # at the end, for data that is not uploaded by then
CLOSE_SECONDS = 30.0  # from the end of training on; data that is not uploaded then is on disk
BACKLOG = 100_000  # lines that wait for a slow start; later ones are lost to the mirror


class WandbMirror:
    """Starts online if asked to, and continues offline if the server cannot be reached.

    No method raises. Only `close` waits, for at most CLOSE_SECONDS.
    """

    def __init__(self, plan: Plan) -> None:
        config = plan.config
        self._run_dir = config.run.dir.resolve()
        self._arguments = _arguments(plan)
        self._mode: str = config.logging.wandb.mode
        self._lines: queue.Queue[str | None] = queue.Queue(BACKLOG)
        self._notes: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._carried: str | None = None  # a line that the last process did not accept
        self._lost = 0
        self._closing, self._over = threading.Event(), threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._folder = ""  # the process's folder for temporary files
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def log(self, numbers: dict[str, Any]) -> None:
        """Put one line into the queue for wandb; its field `step` is its step."""
        if not self._thread.is_alive():
            return
        try:
            self._lines.put_nowait(json.dumps(numbers))
        except queue.Full:
            self._lost += 1

    def notes(self) -> Iterator[dict[str, str]]:
        """Yield what happened since the last call: `event`, and `url` or `reason`."""
        while not self._notes.empty():
            yield self._notes.get()

    def close(self) -> None:
        """Finish the mirror: upload what is left, or leave it on disk."""
        limit = time.monotonic() + CLOSE_SECONDS
        self._closing.set()
        while self._thread.is_alive() and time.monotonic() < limit:
            try:
                self._lines.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join(max(0.0, limit - time.monotonic()))
        if self._lost:
            self._note("wandb incomplete", reason=f"{self._lost} lines came faster than wandb accepted them")
        if self._thread.is_alive():
            self._over.set()
            self._note("wandb offline", reason=f"not done {CLOSE_SECONDS:.0f} s after the end of training")
            self._kill()

    def _work(self) -> None:
        """Run the mirror's thread: every wait for wandb is here."""
        try:
            if self._mode == "online":
                reason = self._mirror("online")
                if reason is None or self._over.is_set():
                    return
                self._note("wandb offline", reason=reason)
                if self._closing.is_set() and self._lines.empty() and self._carried is None:
                    return  # all of it was handed over, and is on disk
            reason = self._mirror("offline")
        except Exception as error:  # a mirror's fault must not end the training
            reason = one_line(error)
        if reason is not None and not self._over.is_set():
            self._note("wandb stopped", reason=reason)

    def _mirror(self, mode: str) -> str | None:
        """Send lines to the process until the end; return the reason if that stopped early, None if it did not."""
        messages = self._start(mode)
        try:
            first = self._wait(messages, START_SECONDS, LAST_START_SECONDS)
            if "ready" not in first:
                return first.get("failed", "no answer in time")
            if mode == "online":
                self._note("wandb online", url=first["ready"] or "")
            process = self._process
            assert process is not None and process.stdin is not None
            while True:
                line, self._carried = self._carried or self._lines.get(), None
                try:
                    process.stdin.write("null\n" if line is None else line + "\n")
                    process.stdin.flush()
                except OSError:  # the process is gone, having said why; the line is for the next one
                    self._carried = line
                    return self._wait(messages, 1.0, 1.0).get("failed", "its process ended")
                if line is None:
                    last = self._wait(messages, CLOSE_SECONDS, CLOSE_SECONDS)
                    return None if last.get("done") else last.get("failed", "its process ended")
        finally:
            self._kill()

    def _start(self, mode: str) -> "queue.SimpleQueue[dict[str, Any]]":
        log = RunDir(self._run_dir).wandb_log
        log.parent.mkdir(exist_ok=True)
        self._folder = tempfile.mkdtemp(prefix="slipway-wandb-")
        with log.open("a") as output:
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "slipway.metrics.wandb_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,  # Ctrl-C is not for it
                env={
                    "WANDB_ERROR_REPORTING": "false",
                    **os.environ,
                    "WANDB_MODE": mode,
                    "TMPDIR": self._folder,  # wandb leaves folders there
                },
            )
        assert process.stdin is not None
        messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(process, messages), daemon=True).start()
        with contextlib.suppress(OSError):  # it is gone already: nothing will answer
            process.stdin.write(json.dumps({**self._arguments, "mode": mode}) + "\n")
            process.stdin.flush()
        return messages

    def _wait(
        self, messages: "queue.SimpleQueue[dict[str, Any]]", seconds: float, closing_seconds: float
    ) -> dict[str, Any]:
        """Return the process's next message; an empty one if the process ended or sent none in time.

        In time is within `seconds`, and once training is over within closing_seconds from then on.
        """
        limit = time.monotonic() + seconds
        closing_limit = None
        while (now := time.monotonic()) < limit:
            if closing_limit is None and self._closing.is_set():
                limit = closing_limit = min(limit, now + closing_seconds)
            try:
                return messages.get(timeout=0.1)
            except queue.Empty:
                continue
        return {}

    def _kill(self) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        files.remove(Path(self._folder))

    def _note(self, event: str, **more: str) -> None:
        self._notes.put({"event": event, **more})


def identity(name: str, run_dir: Path) -> str:
    """Return a run's id in wandb: the same in every segment, online and offline."""
    return hashlib.sha256(f"{name}\n{run_dir.resolve()}".encode()).hexdigest()[:16]


def _arguments(plan: Plan) -> dict[str, Any]:
    run, settings = plan.config.run, plan.config.logging.wandb
    return {
        "project": settings.project,
        "entity": settings.entity,
        "name": run.name,
        "id": identity(run.name, run.dir),
        "resume": "allow",
        "dir": str(run.dir.resolve()),
        "config": plan.config.model_dump(mode="json"),
        "init_seconds": INIT_SECONDS,
        "upload_seconds": UPLOAD_SECONDS,
    }


def _read(process: "subprocess.Popen[str]", messages: "queue.SimpleQueue[dict[str, Any]]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        messages.put(json.loads(line))
    messages.put({})
