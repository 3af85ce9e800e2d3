"""Writes a run's numbers: into metrics.jsonl first, then to the console and the mirrors. Rank 0 only."""

import json
import sys
import time
from collections import deque
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from slipway import files
from slipway.errors import Fault
from slipway.metrics.console import missing_line, train_line
from slipway.metrics.file import FOREIGN, MISSING, Course, lines_of, missing_steps, parse
from slipway.metrics.mirrors import Mirrors, mirrored
from slipway.models import family
from slipway.plan import Plan
from slipway.plan.units import Units
from slipway.run_dir import RunDir

RECENT = 20  # steps whose median gives the time that is left


class Metrics:
    """Writes one JSON object a line, and mirrors it to the console, TensorBoard and wandb."""

    def __init__(self, plan: Plan, start_step: int) -> None:
        """Open metrics.jsonl and the mirrors.

        start_step: the last step done; lines of later steps (an undone end of the run) are dropped.
        """
        config = plan.config
        run_dir = config.run.dir
        self.plan, self.units = plan, Units.of(plan)
        self.shown = [measure.name for measure in family(config).measures(config)]
        self.console_interval = config.logging.interval
        self.path = RunDir(run_dir).metrics
        course = self._open(start_step)
        self.step = start_step
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.mirrors = Mirrors(plan, start_step, self._mirror_event)
        self._name_faults(course)

    def write(self, kind: str, **values: Any) -> None:
        """Write one line of the given kind (train, validation, event) and mirror it.

        Raises Fault if it cannot be written.
        """
        values = {name: _finite(value) for name, value in values.items()}
        record = {"kind": kind, "time": time.time(), **values}
        try:
            self.file.write(json.dumps(record))
        except OSError as error:
            raise self._failed(error) from error
        self.step = values["step"]
        self.mirrors.log(mirrored(kind, values, self.units), self.step)

    def _mirror_event(self, event: str, reason: str | None) -> None:
        self.write("event", step=self.step, event=event, reason=reason)

    def train(self, **values: Any) -> None:
        """Write a training step's line, and every logging.interval steps print one for people."""
        self.write("train", **values)
        self.recent.append(values["step_seconds"])
        step, steps = values["step"], self.plan.config.training.steps
        if step % self.console_interval == 0 or step == steps:
            left = (steps - step) * median(self.recent)
            self.say(train_line(values, steps, left, self.units, self.shown))

    def back_to(self, step: int) -> None:
        """Drop the lines of steps after `step`, from which the run continues once more."""
        self.file.close()
        self._open(step)

    def flush(self) -> None:
        """Flush all lines to disk.

        The thread that commits a checkpoint calls it first, as the checkpoint counts on these lines.
        """
        self.file.flush()

    def say(self, text: str) -> None:
        """Print a line for people."""
        print(text, file=sys.stdout, flush=True)

    def close(self) -> None:
        """Flush everything, also what the mirrors report at their end."""
        self._flush_last()
        self.mirrors.close()
        self._flush_last()
        self.file.close()

    def _open(self, step: int) -> Course:
        try:
            course = drop_after(self.path, step)
            self.file = files.Appended(self.path)
        except OSError as error:
            raise self._failed(error) from error
        return course

    def _flush_last(self) -> None:
        """Flush the file, and warn if that fails.

        A warning is enough: the work is done, and checkpoints have flushed the lines that they count on.
        """
        try:
            self.flush()
        except OSError as error:
            self.say(f"warning: {self.path}: the last lines may not be on disk: {files.reason(error)}")

    def _name_faults(self, course: Course) -> None:
        """Report once what is wrong with the file."""
        if missing := missing_steps(course.records, self.step):
            self.write("event", step=self.step, event=MISSING, steps=missing)
            which = missing_line(missing)
            self.say(f"warning: {self.path} has no line of steps {which}, though the checkpoint has them")
        named = [record.get("count") for record in course.records if record.get("event") == FOREIGN]
        if course.foreign and named[-1:] != [len(course.foreign)]:
            self.write("event", step=self.step, event=FOREIGN, count=len(course.foreign))
            self.say(
                f"warning: {self.path}: {len(course.foreign)} lines are no records, the first is line "
                f"{course.foreign[0]}; they are left as they are"
            )

    def _failed(self, error: OSError) -> Fault:
        return Fault(
            self.path,
            f"cannot be written: {files.reason(error)}; the checkpoints are intact",
            do="make it writable, or free some space, and run the same command again",
        )


class NoMetrics:
    """The log of ranks other than 0: writes nothing."""

    def write(self, kind: str, **values: Any) -> None:
        """Ignore the line, as the other methods do; see Metrics."""

    def train(self, **values: Any) -> None: ...  # noqa: D102

    def back_to(self, step: int) -> None: ...  # noqa: D102

    def flush(self) -> None: ...  # noqa: D102

    def say(self, text: str) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


Log = Metrics | NoMetrics


def _finite(value: Any) -> Any:
    """Return the value as JSON can hold it, also inside a mapping: None stands for NaN and infinity."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value


def drop_after(path: Path, step: int) -> Course:
    """Remove a torn last line and the lines of steps after `step`, except events, whole or not at all.

    Returns what is left. Foreign lines stay. Raises OSError, or Unreadable if the file cannot be read now.
    """
    content, kept = files.read(path), []
    if content is None:
        return Course([], [])
    for line, record in lines_of(content):
        if record is None and (line.isspace() or not line.endswith(b"\n")):
            continue
        # events stay: they did happen
        if record is None or record["step"] <= step or record["kind"] == "event":
            kept.append(line.removesuffix(b"\n") + b"\n")
    left = b"".join(kept)
    if left != content:
        with files.whole(path) as beside:
            beside.write_bytes(left)
    return parse(left)
