"""Where a run's numbers go: metrics.jsonl first, then the console and the mirrors. Rank 0 only."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from slipway.plan import Plan

FILE = "metrics.jsonl"


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
        self.tensorboard: Any = None
        self.wandb: Any = None
        if config.logging.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.tensorboard = SummaryWriter(str(run_dir / "tensorboard"), purge_step=start_step + 1)
        if config.logging.wandb.mode != "disabled":
            self.wandb = _start_wandb(plan)

    def write(self, kind: str, **values: Any) -> None:
        """One line of the given kind (train, validation, event)."""
        record = {"kind": kind, "time": time.time(), **values}
        self.file.write(json.dumps(record) + "\n")
        numbers = {f"{kind}/{k}": v for k, v in values.items() if isinstance(v, int | float) and k != "step"}
        step = values["step"]
        if self.tensorboard:
            for name, value in numbers.items():
                self.tensorboard.add_scalar(name, value, step)
        if self.wandb:
            self.wandb.log({**numbers, "step": step})

    def train(self, **values: Any) -> None:
        """A training step's line, and every logging.interval steps a line for people."""
        self.write("train", **values)
        step, steps = values["step"], self.plan.config.training.steps
        if step % self.console_interval == 0 or step == steps:
            left = (steps - step) * values["step_seconds"]
            self.say(
                f"step {step:>{len(str(steps))}}/{steps}  loss {values['loss']:.4f}"
                f"  lr {values['learning_rate']:.2e}  grad norm {values['grad_norm']:.3f}"
                f"  {values['tokens_per_second']:,.0f} tokens/s"
                f"  {values['tflops_per_device']:.3g} TFLOP/s/device (MFU {values['mfu']:.1%})"
                f"  {values['step_seconds']:.2f} s/step  {_duration(left)} left"
            )

    def say(self, text: str) -> None:
        """A line for people."""
        print(text, file=sys.stdout, flush=True)

    def close(self) -> None:
        """Flush everything."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        if self.tensorboard:
            self.tensorboard.close()
        if self.wandb:
            self.wandb.finish()


def drop_after(path: Path, step: int) -> None:
    """Remove a torn last line and the lines of steps after `step` from a metrics file, atomically."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["step"] <= step:
            kept.append(line)
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(path)


def _start_wandb(plan: Plan) -> Any:
    import hashlib

    import wandb

    run, settings = plan.config.run, plan.config.logging.wandb
    # the same id in every segment of the run, online and offline
    identity = hashlib.sha256(f"{run.name}\n{run.dir.resolve()}".encode()).hexdigest()[:16]
    session = wandb.init(
        project=settings.project,
        entity=settings.entity,
        mode=settings.mode,
        name=run.name,
        id=identity,
        resume="allow",
        dir=str(run.dir),
        config=plan.config.model_dump(mode="json"),
    )
    session.define_metric("*", step_metric="step")
    return session


def _duration(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
