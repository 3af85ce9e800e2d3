"""The process that talks to wandb: JSON lines in on standard input, JSON lines out. Imports no torch.

First line: the arguments of wandb.init, and its time limits. Then lines of numbers; `null` ends the run well, the end
of the input ends it as failed. Out: {"ready": URL or null} once, {"failed": REASON} if wandb cannot continue, {"done":
true} when all is uploaded or, offline, on disk. Every failure ends this process; its parent decides what to do then.
TMPDIR is a folder of its own, removed at the end.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from slipway.metrics.wandb_access import one_line
from slipway.metrics.wandb_data import MARK, Content, note


def main() -> None:
    """Run the process, with standard output redirected so that what wandb prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # they are for the trainer
        signal.signal(number, signal.SIG_IGN)
    try:
        try:
            _mirror(out)
        except BaseException as error:
            _tell(out, failed=one_line(error))
        out.flush()
    finally:
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)  # this process's own; its parent may be gone
        os._exit(0)  # so that no exit handler of wandb waits; its service ends with this process


def _mirror(out: TextIO) -> None:
    arguments = json.loads(sys.stdin.readline())
    init_seconds, upload_seconds = arguments.pop("init_seconds"), arguments.pop("upload_seconds")

    import wandb

    run = wandb.init(
        **arguments,
        settings=wandb.Settings(
            init_timeout=init_seconds,
            finish_timeout=upload_seconds,
            finish_timeout_raises=True,
            quiet=True,  # also avoids a request before init's own, which has a time-out of its own
            console="off",
            disable_job_creation=True,
            x_stats_pid=os.getppid(),
        ),
    )
    run.define_metric("*", step_metric="step")
    _tell(out, ready=run.url if arguments["mode"] == "online" else None)
    file, steps, code = Path(run.settings.sync_file), set[int](), 1
    note(file, Content())
    try:
        for line in sys.stdin:
            numbers = json.loads(line)
            if numbers is None:
                code = 0
                break
            run.log(numbers)
            steps.add(numbers["step"])
        run.finish(exit_code=code)
    finally:  # uploaded or not, it is on disk
        note(file, Content(True, len(steps), min(steps, default=None), max(steps, default=None)))
    if arguments["mode"] == "online":  # as `wandb sync` marks what it has uploaded
        file.with_name(file.name + MARK).touch()
    _tell(out, done=True)


def _tell(out: TextIO, **message: Any) -> None:
    print(json.dumps(message), file=out, flush=True)


if __name__ == "__main__":
    main()
