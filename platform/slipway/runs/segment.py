"""One segment around a training: the run is locked, and its record is opened, kept alive and closed."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from slipway import files
from slipway.errors import (
    EXIT_CONTINUE,
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    Fault,
    Stopped,
    UserError,
)
from slipway.plan import Plan
from slipway.plan.facts import facts_of
from slipway.runs import ledger
from slipway.runs.lock import earlier as earlier_start
from slipway.runs.lock import lock
from slipway.runs.lock.heartbeat import Heartbeat
from slipway.runs.lock.holder import WORKLOAD
from slipway.secrets import in_one_line

BEAT_SECONDS = 5.0
BEATS_PER_RECORD = 6


def check_free(run_dir: Path) -> int:
    """Return the number of segments that the run has had. Writes nothing.

    An earlier pod of the same run is waited for, as it may still write a checkpoint. Raises UserError if a process
    trains the run now, and Fault if the earlier pod does not end.
    """
    earlier_start.outlast(run_dir)
    lock.check_free(run_dir)
    return ledger.newest_number(run_dir)


def run_segment(
    plan: Plan,
    earlier: int,
    first_step: int,
    started: float,
    body: Callable[[], int],
    kernels: Mapping[str, str] | None = None,
    switches: Mapping[str, bool | int | str] | None = None,
) -> int:
    """Call body() as the only trainer of the plan's run, with a record in its ledger. Return body's exit code.

    earlier: what check_free returned before the caller looked for a checkpoint; first_step: the step that comes next;
    started: when the command began (Unix seconds); kernels: backends by operator, and switches, for the record.

    Raises UserError, and calls nothing, if another process trains the run or has trained it since check_free. In a
    pod, whose successor starts again by itself, the latter is a Fault.
    """
    run_dir = plan.config.run.dir
    held = lock.take(run_dir)
    try:
        if ledger.newest_number(run_dir) != earlier:
            continued = UserError(
                "run.dir",
                "was trained by another process in the meantime",
                value=run_dir,
                do="run the same command again to resume it",
            )
            # a pod's successor starts again by itself
            raise Fault(**continued.parts()) if os.environ.get(WORKLOAD) else continued
        try:
            segment = ledger.begin_segment(
                run_dir,
                facts_of(plan.model_dump(mode="json")),
                held.me,
                first_step,
                started,
                os.environ,
                kernels,
                switches,
            )
        except OSError as error:
            raise UserError(
                "run.dir",
                f"cannot be written ({files.reason(error)})",
                value=run_dir,
                do="make it writable, then run the same command again",
            ) from None
        life = _Life(held, segment)
        heartbeat = Heartbeat(BEAT_SECONDS, life.beat)
        code, told = EXIT_FAULT, None
        try:
            code = body()
            return code
        except UserError as error:
            code, told = EXIT_USER_ERROR, in_one_line(error)
            raise
        except Fault as error:
            told = in_one_line(error)
            raise
        except Stopped as error:
            code, told = EXIT_CONTINUE, error.args[0]
            raise
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
            raise
        finally:
            heartbeat.stop()
            _close(held, life.segment, code, told)
    finally:
        with suppress(OSError):  # the outcome has been reported; a run.dir that is gone is no failure
            held.release()


class _Life:
    def __init__(self, held: lock.RunLock, segment: ledger.Segment) -> None:
        self.held, self.segment, self.beats = held, segment, 0

    def beat(self) -> None:
        """Keep the lock and the record alive.

        A full or slow file system must not end a training; another trainer of the run must.
        """
        self.beats += 1
        try:
            self.held.beat()
            if self.beats % BEATS_PER_RECORD == 0:
                self.segment = ledger.continue_segment(self.held.run_dir, self.segment, time.time())
        except (OSError, files.Unreadable):
            return
        except lock.LostLock as error:
            print(f"slipway: {error}; this one ends, so that two never write", file=sys.stderr, flush=True)
            os._exit(EXIT_FAULT)


def _close(held: lock.RunLock, segment: ledger.Segment, code: int, told: str | None) -> None:
    try:
        ledger.end_segment(held.run_dir, segment, code, time.time(), told)
    except (OSError, files.Unreadable) as error:
        why = files.reason(error) if isinstance(error, OSError) else error
        print(f"slipway: the ledger of {held.run_dir} stays open: {why}", file=sys.stderr)
