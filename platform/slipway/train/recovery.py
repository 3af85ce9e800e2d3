"""Continues from a checkpoint: at the start of a segment, and when the guard asks for it."""

from dataclasses import asdict, dataclass, field
from typing import Any, Never

import torch
from torch.distributed.checkpoint.api import CheckpointException

from slipway import system_errors
from slipway.checkpoint import load as checkpoint
from slipway.checkpoint import store as checkpoint_store
from slipway.checkpoint.position import Position
from slipway.config.schema import RunConfig
from slipway.data.ledger import DataLedger
from slipway.errors import Fault
from slipway.metrics.log import Log
from slipway.plan import Plan
from slipway.plan.change import describe_change
from slipway.plan.units import Units
from slipway.ranks.starting import start_seconds
from slipway.secrets import in_one_line
from slipway.train.guard import Verdict
from slipway.train.peak import Peak
from slipway.train.setup import Session
from slipway.train.start import Start
from slipway.train.step import Outcome


@dataclass
class LeftOut:
    """Stretches of the run's order of samples that are skipped: (first, one after the last); may overlap."""

    stretches: list[tuple[int, int]] = field(default_factory=list)

    def pass_over(self, data: DataLedger) -> DataLedger:
        """Return the position from which samples are read; those in between count as consumed."""
        while ends := [end for start, end in self.stretches if start <= data.total < end]:
            data = data.advance(max(ends) - data.total)
        return data


def agreed(start: Start) -> Start:
    """Return rank 0's start on every rank; all ranks call it."""
    told: list[Any] = [start]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]


def resume(session: Session, start: Start) -> Position:
    """Load the checkpoint of the start, if any, and return the position; all ranks call it."""
    info = start.info
    if info is None:
        return Position(start.data)
    _load(session, start)
    if torch.distributed.get_rank() == 0:
        print(f"continuing from {start.checkpoint} (step {info.step})", flush=True)
    return Position(start.data, info.step, info.updates, info.recent_losses, info.uneven, info.step_samples)


def note_start(log: Log, plan: Plan, start: Start, at: Position, peak: Peak) -> None:
    """Write down what this segment starts with, and that its first step comes now."""
    for path, reason in start.skipped:
        log.write("event", step=at.step, event="checkpoint skipped", path=str(path), reason=reason)
    if at.data.change:
        log.write("event", step=at.step, event="blend changed", change=at.data.change, sample=at.data.total)
    info = start.info
    if info and not info.imported and (change := describe_change(info.world_size, info.parallelism, plan)):
        log.write("event", step=at.step, event="layout changed", change=change)
    told = {**asdict(Units.of(plan)), **peak.in_words()}
    log.write("event", step=at.step, event="start", seconds=start_seconds(), **told)


def recover(
    session: Session, log: Log, at: Position, outcome: Outcome, verdict: Verdict, left_out: LeftOut
) -> Position:
    """Follow a verdict of stop or rollback and return the new position; all ranks call it.

    For a rollback the newest good checkpoint is loaded. The offending batch, and those before it as
    guard.rollback_batches says, are added to left_out. at: the position before the offending batch. Raises Fault for a
    stop, and if there is no checkpoint to go back to.
    """
    config = session.plan.config
    if verdict.action == "stop":
        _give_up(config, log, at.step + 1, outcome, verdict)
    again = agreed(_newest(config, at.data) if torch.distributed.get_rank() == 0 else Start(at.data))
    info = again.info
    if info is None:
        raise Fault(
            f"step {at.step + 1}",
            f"{verdict.reason}, and no intact checkpoint exists to return to",
            do="lower optimizer.lr, or check the data, and train again",
        )
    _load(session, again)
    batch = config.training.global_batch_size
    start = max(info.data.total, at.data.total - (config.guard.rollback_batches - 1) * batch)
    end = at.data.total + batch
    left_out.stretches.append((start, end))
    log.back_to(info.step)
    _event(log, info.step, "rollback", at, outcome, verdict, f"back to step {info.step}", (start, end))
    data = info.data.resume(at.data.seed, at.data.weights, at.data.facts, at.data.signatures)
    return Position(
        left_out.pass_over(data), info.step, info.updates, info.recent_losses, info.uneven, info.step_samples
    )


def note_skip(log: Log, at: Position, outcome: Outcome, verdict: Verdict) -> None:
    """Report that a step makes no update."""
    _event(log, at.step + 1, "skip", at, outcome, verdict, "no update from this batch", None)


def note_warnings(log: Log, step: int, verdict: Verdict) -> None:
    """Report what the guard found in a step that it let pass."""
    for event, reason in verdict.warnings:
        log.write("event", step=step, event=event, reason=reason)
        log.say(f"warning: step {step}: {reason}")


def _give_up(config: RunConfig, log: Log, step: int, outcome: Outcome, verdict: Verdict) -> Never:
    """End the run before the update. Raises Fault."""
    newest = checkpoint_store.latest(config.run.dir)
    stop = Fault(
        f"step {step}",
        f"{verdict.reason}{_on(outcome)}; training stopped before the update (guard.on_nonfinite="
        f"{config.guard.on_nonfinite}, guard.on_spike={config.guard.on_spike}, guard.on_collapse="
        f"{config.guard.on_collapse}); the last checkpoint is {newest.name if newest else 'none'}",
        do="to continue past it, set guard.on_nonfinite or guard.on_spike to skip or rollback, guard.on_collapse to "
        "warn",
    )
    log.write("event", step=step, event="guard stop", reason=str(stop))
    log.close()
    raise stop


def _newest(config: RunConfig, data: DataLedger) -> Start:
    path = checkpoint_store.newest_good(config.run.dir).path
    return Start(data, path, checkpoint_store.read_info(path) if path else None)


def _load(session: Session, start: Start) -> None:
    """Load a checkpoint that exists. Raises Fault if it cannot be read."""
    assert start.checkpoint and start.info
    try:
        with session.model.whole_parameters():
            checkpoint.load(session.plan, session.model, start.checkpoint, start.info)
    except (OSError, CheckpointException) as error:
        cause: BaseException | None = system_errors.behind(error)
        first = next(iter(getattr(error, "failures", {}).values()), (error,))[0]
        raise Fault(
            f"checkpoint {start.checkpoint}",
            f"cannot be loaded: {in_one_line(cause or first)}; nothing was changed",
            do="run `slipway checkpoint verify` on it; if it is damaged, remove it and run the same command again",
        ) from error


def _event(
    log: Log,
    step: int,
    name: str,
    at: Position,
    outcome: Outcome,
    verdict: Verdict,
    done: str,
    samples: tuple[int, int] | None,
) -> None:
    """Write an event down and print it.

    samples: the stretch that is skipped, as positions in the run's order of samples.
    """
    reason = f"{verdict.reason}{_on(outcome)}"
    more = {} if samples is None else {"samples_left_out": samples}
    log.write("event", step=step, event=name, at_step=at.step + 1, reason=reason, **more)
    log.say(f"step {at.step + 1}  {reason}: {done}")


def _on(outcome: Outcome) -> str:
    ranks = ", ".join(map(str, outcome.not_finite))
    return f" (first on rank {ranks})" if ranks else ""
