"""`slipway runs sync`: upload what wandb kept on disk, from where there is a network. Imports no torch."""

import os
import shlex
import subprocess
import sys
import tempfile
import time

from slipway.errors import EXIT_DONE, EXIT_FAULT, UserError
from slipway.metrics import wandb_data
from slipway.metrics.wandb_access import HOW_TO_MEND, installed, key_problem
from slipway.metrics.wandb_data import Content, Stored
from slipway.run_dir import RunDir
from slipway.runs.overview import Overview
from slipway.secrets import redacted

# wandb retries for hours, which is too long for a user without a network. The user's own settings win.
PATIENCE = {
    "WANDB_HTTP_TIMEOUT": "15",
    "WANDB__GRAPHQL_RETRY_MAX": "2",
    "WANDB__FILE_STREAM_RETRY_MAX": "4",
    "WANDB__FILE_TRANSFER_RETRY_MAX": "4",
    "WANDB_ERROR_REPORTING": "false",
}
SILENT_SECONDS = 300.0  # an upload that prints nothing for so long is given up


def sync(run: Overview, dry_run: bool) -> int:
    """Upload a run's segments in order, each by `wandb sync`. Return the exit code: 1 if one was not uploaded.

    A segment that is still being written is left for later. Raises UserError if the run has no wandb data, or if
    wandb or its key is missing.
    """
    every = wandb_data.stored(run.dir)
    if not every:
        raise UserError(
            f"runs sync {run.name}",
            f"no wandb data in {RunDir(run.dir).wandb}; it exists only if logging.wandb.mode is online or "
            "offline (logging=wandb, logging=wandb_offline), and the default is disabled",
            do="train with logging=wandb_offline",
        )
    pending = [(one, wandb_data.read(one.file)) for one in wandb_data.pending(run.dir)]
    left = [(one, content) for one, content in pending if content]
    if run.holder:  # the newest that did not end is being written; an older one's writer was killed
        writing = [pair for pair in left if not pair[1].ended][-1:]
        left = [pair for pair in left if pair not in writing]
        for one, _ in writing:
            print(
                f"left out: {one.folder} is being written by {run.holder}; repeat this when the run has ended"
            )
    if not left:
        print(f"nothing to upload: what wandb has written in {run.dir} and closed is uploaded")
        return EXIT_DONE
    if dry_run:
        for one, content in left:
            print(f"{shlex.join(command(one))}    # {_steps(content)}")
        return EXIT_DONE
    if not installed("wandb"):
        raise UserError(f"runs sync {run.name}", "wandb is not installed here", use="a machine that has it")
    if problem := key_problem():
        raise UserError(f"runs sync {run.name}", problem, do=HOW_TO_MEND)
    return _upload(run, left)


def command(one: Stored) -> list[str]:
    """Return the command that uploads one segment; wandb appends it to the run with its id."""
    # `wandb sync` skips a segment that was online unless an option says otherwise
    online = ["--include-online"] if one.online else []
    return [sys.executable, "-m", "wandb", "sync", *online, str(one.folder.resolve())]


def _upload(run: Overview, left: list[tuple[Stored, Content]]) -> int:
    done, steps = 0, 0
    for one, content in left:
        print(shlex.join(command(one)), flush=True)
        with tempfile.TemporaryDirectory(prefix="slipway-wandb-") as folder:
            said = _run(command(one), folder)
        if not one.uploaded:  # wandb's exit code is 0 even if it failed
            print(
                f"slipway: runs sync {run.name}: {done} of {len(left)} segments uploaded, then wandb failed "
                f"({said}); nothing is lost: where the server can be reached and the API key is right, "
                f"`slipway runs sync {run.dir}` goes on",
                file=sys.stderr,
            )
            return EXIT_FAULT
        done, steps = done + 1, steps + (content.count or 0)
    print(f"{done} segments of {run.name} uploaded, {steps} steps")
    return EXIT_DONE


def _run(words: list[str], folder: str) -> str:
    """Run wandb to its end, or until it is silent for too long. Return the line that explains a failure best.

    folder: for wandb's temporary files.
    """
    process = subprocess.Popen(
        words,
        env={**PATIENCE, **os.environ, "TMPDIR": folder},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    said, heard = b"", time.monotonic()
    try:
        while time.monotonic() - heard < SILENT_SECONDS:
            ended = process.poll() is not None  # asked before reading, so that all output is read
            piece = process.stdout.read()
            if piece:
                said, heard = said + piece, time.monotonic()
            elif ended:
                return _failure(said.decode(errors="replace"))
            else:
                time.sleep(0.05)
        return f"no word for {SILENT_SECONDS:.0f} s"
    finally:
        process.kill()
        process.wait()


def _failure(said: str) -> str:
    lines = [line.removeprefix("wandb:").strip() for line in said.splitlines()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    first = (errors or lines or ["it said nothing"])[0].removeprefix("ERROR")
    return redacted(" ".join(first.split()))[:300]


def _steps(content: Content) -> str:
    if content.count is None:
        return "its writer was killed: steps not known"
    return f"{content.count} steps, {content.first}-{content.last}" if content.count else "no steps"
