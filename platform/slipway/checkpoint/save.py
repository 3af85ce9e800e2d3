"""Writes checkpoints, beside training or while it waits.

With checkpoint.async_save the loop waits only while its state is copied to host memory; without, until the checkpoint
is complete. A thread brings the pieces of the optimizer's state together, writes, hashes and commits. It talks to the
other ranks' threads through a process group of its own.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException

from slipway import files, models, system_errors
from slipway.checkpoint import manifest as checkpoint_manifest
from slipway.checkpoint import retention, store
from slipway.checkpoint.position import Position
from slipway.checkpoint.store import CheckpointInfo
from slipway.engine.engine import Rank, Snapshot
from slipway.errors import Fault
from slipway.plan import Plan
from slipway.ranks import awake
from slipway.ranks.rendezvous import COLLECTIVE_TIMEOUT
from slipway.secrets import in_one_line

WAITING = "waiting for the other ranks"
SUSPECT_FIRST_SECONDS = 5.0  # a rank that waits for others complains later than they do


class SaveError(Fault):
    """A checkpoint could not be written; earlier ones are intact."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint that is complete.

    seconds: from begin to commit. stall_seconds: the part of it in which training was blocked.
    """

    step: int
    path: Path
    seconds: float
    stall_seconds: float
    consumed: dict[str, int]
    """Samples behind it, by source."""
    warnings: list[str]
    """Faults around it that harm no checkpoint, reported for the first time."""


@dataclass
class _Save:
    info: CheckpointInfo
    began: float
    began_awake: float = field(default_factory=awake.now)
    stall_seconds: float = 0.0
    doing: str = "copying"
    done: float | None = None
    path: Path | None = None
    error: BaseException | None = None
    warnings: list[str] = field(default_factory=list)
    thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        return (self.done or time.monotonic()) - self.began


class Saver:
    """Saves one checkpoint at a time; all ranks make one together and call its methods at the same steps."""

    def __init__(self, plan: Plan, model: Rank, before_commit: Callable[[], None] | None = None) -> None:
        """Create the process group of the saving threads; all ranks call it.

        before_commit: flushes what a checkpoint counts on to disk; called on rank 0, beside training.
        """
        self.plan, self.before_commit = plan, before_commit
        self.told: set[str] = set()
        self.settings = plan.config.checkpoint
        self.rank = torch.distributed.get_rank()
        self.group: Any = torch.distributed.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
        self.snapshotter = model.snapshotter(beside=self.settings.async_save)
        self.save: _Save | None = None

    def start(self, position: Position, validation_loss: float | None) -> None:
        """Begin to save the present state; return as soon as training may change it.

        No other save may be under way. Without checkpoint.async_save it returns when the checkpoint is complete, as the
        thread writes the tensors that training changes. validation_loss: None if it was not measured at this step.
        """
        assert self.save is None, "wait for the last save first"
        save = self.save = _Save(self._info(position, validation_loss), time.monotonic())
        snapshot = self.snapshotter.take()
        save.thread = threading.Thread(
            target=self._run, args=(save, snapshot), name="checkpoint", daemon=True
        )
        save.thread.start()
        if not self.settings.async_save:
            self._join(save)
        save.stall_seconds = save.seconds

    def poll(self) -> Saved | None:
        """Return the save that has become complete since the last call, or None; on rank 0 with its path.

        Raises SaveError if it failed, or takes longer than checkpoint.timeout_minutes.
        """
        save = self.save
        if save is None:
            return None
        if save.done is None:
            self._check_time(save)
            return None
        self.save = None
        if save.error is not None:
            raise self._failed(save, save.error)
        consumed = save.info.data.consumed
        return Saved(
            save.info.step, save.path or Path(), save.seconds, save.stall_seconds, consumed, save.warnings
        )

    def wait(self) -> Saved | None:
        """Wait until the save under way is complete and return it, as poll does; None if there is none."""
        save = self.save
        if save is None or save.thread is None:
            return None
        started = time.monotonic()
        self._join(save)
        save.stall_seconds += time.monotonic() - started
        return self.poll()

    def _join(self, save: _Save) -> None:
        assert save.thread is not None
        while save.thread.is_alive():
            save.thread.join(0.2)
            self._check_time(save)

    # the thread's part

    def _run(self, save: _Save, snapshot: Snapshot) -> None:
        try:
            with torch.no_grad():
                save.path = self._write(save, snapshot)
        except (Exception, CheckpointException) as error:
            save.error = error
        save.done = time.monotonic()

    def _write(self, save: _Save, snapshot: Snapshot) -> Path | None:
        save.doing = WAITING if self.rank else f"making a folder in {store.folder(self.plan.config.run.dir)}"
        folder = self._agree(lambda: self._begin(save))
        save.doing = WAITING

        def waits(so: bool) -> None:
            save.doing = WAITING if so else f"writing into {folder}"

        snapshot.write(folder, self.group, waits)
        sums = [checkpoint_manifest.entries(folder.glob(f"__{self.rank}_*"))]
        save.doing = WAITING
        of_all: list[Any] | None = [None] * self.plan.world_size if self.rank == 0 else None
        torch.distributed.gather_object(sums[0], of_all, dst=0, group=self.group)
        if of_all is None:
            return None
        save.doing = f"committing {folder}"
        snapshot.finish(folder)
        if self.before_commit:
            self.before_commit()
        known = {name: entry for of_rank in of_all for name, entry in of_rank.items()}
        path = store.commit(folder, save.info, self._warn, known)
        try:
            lowest = models.family(self.plan.config).loss.lower_is_better
            retention.retain(path, self.settings, self._warn, best_is_lowest=lowest)
        except Exception as error:  # the checkpoint is complete: tidying up after it ends no run
            self._warn(f"older checkpoints were not removed: {in_one_line(error)}")
        return path

    def _begin(self, save: _Save) -> Path:
        retention.tidy(self.plan.config.run.dir, self._warn)
        return store.begin(self.plan.config.run.dir, save.info.step)

    def _warn(self, line: str) -> None:
        """Keep a warning for the loop to report, once."""
        if self.save and line not in self.told:
            self.told.add(line)
            self.save.warnings.append(line)

    def _agree(self, begin: Callable[[], Path]) -> Path:
        """Call `begin` on rank 0 and return its folder on every rank; raise its OSError on every rank if it fails."""
        told: list[Any] = [None]
        if self.rank == 0:
            try:
                told = [begin()]
            except OSError as error:
                told = [OSError(error.errno, error.strerror, error.filename)]
        torch.distributed.broadcast_object_list(told, src=0, group=self.group)
        if isinstance(told[0], OSError):
            raise told[0]
        return told[0]

    def _info(self, position: Position, validation_loss: float | None) -> CheckpointInfo:
        config = self.plan.config
        return CheckpointInfo(
            step=position.step,
            updates=position.updates,
            data=position.data,
            world_size=self.plan.world_size,
            parallelism=config.parallelism,
            precision=config.training.precision,
            shape=models.shape(config),
            optimizer=config.optimizer.name,
            versions={name: version(name) for name in ("torch", "megatron-core")},
            validation_loss=validation_loss,
            recent_losses=position.recent_losses,
            uneven=position.uneven,
            step_samples=position.step_samples,
        )

    def _check_time(self, save: _Save) -> None:
        limit = 60 * self.settings.timeout_minutes
        late = SUSPECT_FIRST_SECONDS if save.doing == WAITING else 0.0
        if save.done is None and awake.now() - save.began_awake > limit + late:
            raise self._failed(
                save,
                TimeoutError(
                    f"after {save.seconds:.0f} s rank {self.rank} is still {save.doing}, longer than "
                    f"checkpoint.timeout_minutes {self.settings.timeout_minutes:g}"
                ),
            )

    def _failed(self, save: _Save, error: BaseException) -> SaveError:
        cause = system_errors.behind(error)
        reason = files.reason(cause) if cause else in_one_line(error)
        where = cause and cause.filename or store.folder(self.plan.config.run.dir)
        failed = SaveError(
            f"step {save.info.step}",
            f"the checkpoint cannot be written: {where}: {reason}; earlier checkpoints are intact",
            do="free some space or restore access there, then run the same command again",
        )
        failed.__cause__ = error
        return failed
