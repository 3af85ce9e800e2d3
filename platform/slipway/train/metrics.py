"""Where a run's numbers go: metrics.jsonl first, then the console and the mirrors. Rank 0 only."""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from slipway.plan import Plan
from slipway.train.mirrors import Mirrors

FILE = "metrics.jsonl"
RECENT = 20  # steps from whose median the time that is left is reckoned


class Metrics:
    """Writes one JSON object a line, and mirrors it to the console, TensorBoard and wandb."""

    def __init__(self, plan: Plan, start_step: int) -> None:
        """start_step: the last step done; lines of later steps (an undone end of the run) are dropped."""
        config = plan.config
        run_dir = config.run.dir
        self.plan = plan
        self.console_interval = config.logging.interval
        drop_after(run_dir / FILE, start_step)
        self.file: TextIO = (run_dir / FILE).open("a", buffering=1)
        self.step = start_step
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.mirrors = Mirrors(plan, start_step, self._mirror_event)

    def write(self, kind: str, **values: Any) -> None:
        """One line of the given kind (train, validation, event)."""
        values = {
            name: None if isinstance(v, float) and not isfinite(v) else v for name, v in values.items()
        }  # JSON knows no NaN
        record = {"kind": kind, "time": time.time(), **values}
        self.file.write(json.dumps(record) + "\n")
        numbers = {f"{kind}/{k}": v for k, v in values.items() if isinstance(v, int | float) and k != "step"}
        self.step = values["step"]
        self.mirrors.log(numbers, self.step)

    def _mirror_event(self, event: str, reason: str | None) -> None:
        self.write("event", step=self.step, event=event, reason=reason)

    def train(self, **values: Any) -> None:
        """A training step's line, and every logging.interval steps a line for people."""
        self.write("train", **values)
        self.recent.append(values["step_seconds"])
        step, steps = values["step"], self.plan.config.training.steps
        if step % self.console_interval == 0 or step == steps:
            left = (steps - step) * median(self.recent)
            self.say(
                f"step {step:>{len(str(steps))}}/{steps}  loss {values['loss']:.4f}"
                f"  lr {values['learning_rate']:.2e}  grad norm {values['grad_norm']:.3f}"
                f"  {values['tokens_per_second']:,.0f} tokens/s"
                f"  {values['tflops_per_device']:.3g} TFLOP/s/device (MFU {values['mfu']:.1%})"
                f"  {values['step_seconds']:.2f} s/step  {_duration(left)} left"
            )

    def back_to(self, step: int) -> None:
        """The run goes on after `step` once more: lines of later steps are dropped."""
        self.file.close()
        path = self.plan.config.run.dir / FILE
        drop_after(path, step)
        self.file = path.open("a", buffering=1)

    def say(self, text: str) -> None:
        """A line for people."""
        print(text, file=sys.stdout, flush=True)

    def close(self) -> None:
        """Flush everything; what the mirrors say at their end is written, too."""
        self._settle(lambda: os.fsync(self.file.fileno()))
        self.mirrors.close()
        self._settle(self.file.close)

    def _settle(self, finish: Callable[[], None]) -> None:
        """All is done and written: what a file system says at the end is told, and no reason to fail."""
        try:
            finish()
        except OSError as error:
            path = self.plan.config.run.dir / FILE
            self.say(f"warning: {path}: {error.strerror}: its last lines may not outlive a power cut")


class NoMetrics:
    """What ranks other than 0 write: nothing."""

    def write(self, kind: str, **values: Any) -> None:
        """See Metrics; so the others."""

    def train(self, **values: Any) -> None: ...  # noqa: D102

    def back_to(self, step: int) -> None: ...  # noqa: D102

    def say(self, text: str) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


Log = Metrics | NoMetrics


def drop_after(path: Path, step: int) -> None:
    """Remove a torn last line and the lines of steps after `step`, but for events, from a metrics file, atomically."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["step"] <= step or record["kind"] == "event":  # what happened, happened
            kept.append(line)
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(path)


def _duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
