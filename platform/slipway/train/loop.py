"""train(plan): the main loop of one rank."""

import os
import time
from math import isfinite
from typing import Any

from slipway.checkpoint.position import Position
from slipway.checkpoint.save import Saved, Saver
from slipway.energy import record as energy
from slipway.engine import engine_of
from slipway.errors import EXIT_CONTINUE, EXIT_DONE
from slipway.metrics import pictures
from slipway.metrics.log import Log, Metrics, NoMetrics
from slipway.plan import Plan
from slipway.ranks.environment import Place
from slipway.ranks.starting import not_counted
from slipway.train import recovery
from slipway.train.evaluation import Evaluation
from slipway.train.garbage import Garbage
from slipway.train.guard import Guard
from slipway.train.load import load_due
from slipway.train.meter import meter
from slipway.train.peak import Peak
from slipway.train.profile import RunProfile
from slipway.train.schedule import learning_rate
from slipway.train.sensors import Sensors
from slipway.train.setup import Session, set_up
from slipway.train.slow_ranks import report_stragglers
from slipway.train.start import Start
from slipway.train.step import Means, compute, read, update_weights, validate
from slipway.train.stopping import Durations, Stopping
from slipway.train.throughput import memory_gib, rates
from slipway.train.watch.hangs import Watch


def train(plan: Plan, place: Place, end_time: float | None, start: Start) -> int:
    """Train from a verified checkpoint, or from the start, to the plan's last step; return the exit code.

    end_time: when this process must have ended, by time.monotonic; None: no limit. start: rank 0's counts. Raises Fault
    if the run cannot continue.
    """
    config, engine = plan.config, engine_of(plan.config)
    watch = Watch(config, place)
    with not_counted():
        device = engine.connect(plan, place)
    watch.meet()
    start = recovery.agreed(start)
    session = set_up(plan, device)
    session.meter = meter(device, place)
    peak = Peak(config, device)
    watch.at(0, "loading the checkpoint", 60 * config.checkpoint.timeout_minutes)
    at = recovery.resume(session, start)
    guard = Guard(config.guard, at.recent_losses, at.uneven)
    log = Metrics(plan, at.step) if place.rank == 0 else NoMetrics()
    sensors = Sensors(device, log.say) if place.rank == 0 else None
    saver = Saver(plan, session.model, before_commit=log.flush)
    stopping = Stopping(end_time if place.rank == 0 else None, Durations(start.pace.saves))
    batch_size = config.training.global_batch_size
    steps, last = config.training.steps, config.last_step
    left_out, garbage = recovery.LeftOut(), Garbage(config.training.manual_gc_interval)
    stop: list[str] = []

    profile = RunProfile(config, session.model, device)
    if at.step == 0:
        found = _validate(session, log, watch, at)
        if guard.goes_back and start.checkpoint is None:
            _save(session, saver, at, found)
    evaluation = Evaluation(session, log, at.step)
    recovery.note_start(log, plan, start, at, peak)
    while at.step < last and not stop:
        step, started = at.step + 1, time.perf_counter()
        profile.begin(step)
        stopping.step_begins()
        watch.at(step, "reading samples")
        following = left_out.pass_over(at.data.advance(batch_size))
        batches = read(session, session.train_data, at.data, following if step < last else None)
        waited = time.perf_counter() - started
        watch.at(step, "forward, backward, reduction")
        outcome = compute(session, batches, stopping)
        evenness = outcome.load.evenness if outcome.load else None
        verdict = guard.judge(step, outcome.loss, outcome.grad_norm, evenness)
        if verdict.action in ("stop", "rollback"):
            _note(saver.wait(), log, stopping)
            watch.at(step, "going back to a checkpoint", 60 * config.checkpoint.timeout_minutes)
            at = recovery.recover(session, log, at, outcome, verdict, left_out)
            guard.recall(at.recent_losses, at.uneven)
            continue
        watch.at(step, "update")
        rate = learning_rate(config.optimizer, step, steps)
        if verdict.action == "update":
            update_weights(session, rate, outcome.grad_norm)
        else:
            session.model.leave_out()
            recovery.note_skip(log, at, outcome, verdict)
        updates = at.updates + (verdict.action == "update")
        behind = at.step_samples + config.training.global_batch_size
        at = Position(following, step, updates, list(guard.losses), dict(guard.uneven), behind)
        seconds = time.perf_counter() - started
        log.train(
            step=step,
            loss=outcome.loss,
            learning_rate=rate,
            grad_norm=outcome.grad_norm,
            updated=verdict.action == "update",
            consumed_samples=at.data.total,
            data_wait_seconds=waited,
            memory_gib=memory_gib(device),
            **rates(plan, seconds, peak.tflops, outcome.attended),
            **(sensors.means() if sensors else {}),
            **energy.summed(outcome.energy),
            **_measures(outcome),
        )
        recovery.note_warnings(log, step, verdict)
        if outcome.load and load_due(config, step):
            log.write("load", step=step, **outcome.load.line())
        profile.end(step, log)
        stop = outcome.stop if step < last else []
        found = None
        if not stop and (_due(step, config.validation.interval) or step == steps):
            found = _validate(session, log, watch, at)
        if not stop and evaluation.due(step):
            evaluation.run(log, watch, step)
        if stop or step == last or _due(step, config.checkpoint.interval):
            watch.at(step, "saving a checkpoint", 120 * config.checkpoint.timeout_minutes)
            _note(saver.wait(), log, stopping)  # one save at a time
            _save(session, saver, at, found)
        _note(saver.wait() if stop or step == last else saver.poll(), log, stopping)
        if _due(step, config.watch.straggler_interval):
            report_stragglers(session, watch, log, step)
        garbage.after(step)
        peak.after(step)

    if stop:
        why = " and ".join(stop)
        log.write("event", step=at.step, event="stop", reason=why)
        log.say(f"step {at.step}  stopped cleanly: {why}; run the same command to resume")
    garbage.close()
    if sensors:
        sensors.close()
    watch.stop()
    session.close()
    log.close()
    engine.disconnect()
    return EXIT_CONTINUE if stop else EXIT_DONE


def _due(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0


def _validate(session: Session, log: Log, watch: Watch, at: Position) -> Means | None:
    """Validate and write the result down; return it, or None if validation is off."""
    steps = session.plan.config.validation.steps
    if not steps:
        return None
    found = validate(session, steps, watch, at.step)
    log.write("validation", step=at.step, loss=found.loss, **_measures(found))
    more = "".join(f"  {name} {value:.4f}" for name, value in found.measures.items())
    log.say(f"step {at.step}  validation loss {found.loss:.4f}{more}")
    if found.picture_error:
        path, why = pictures.path(session.plan.config.run.dir, at.step), os.strerror(found.picture_error)
        log.write("event", step=at.step, event="picture not written", reason=why)
        log.say(f"warning: {path} cannot be written: {why}")
    return found


def _measures(means: Means) -> dict[str, Any]:
    """Return the field `measures` of a line; empty if the family has none. JSON knows no NaN, so None stands for it."""
    if not means.measures:
        return {}
    return {"measures": {n: value if isfinite(value) else None for n, value in means.measures.items()}}


def _save(session: Session, saver: Saver, at: Position, validation: Means | None) -> None:
    with session.model.whole_parameters():
        saver.start(at, validation.loss if validation else None)


def _note(saved: Saved | None, log: Log, stopping: Stopping) -> None:
    """Write down that a checkpoint is complete, if one is."""
    if saved is None:
        return
    stopping.saves.add(saved.seconds)
    log.write(
        "checkpoint",
        step=saved.step,
        path=str(saved.path),
        seconds=saved.seconds,
        stall_seconds=saved.stall_seconds,
        consumed=saved.consumed,
    )
    log.say(
        f"step {saved.step}  checkpoint {saved.path} ({saved.seconds:.1f} s, training "
        f"was blocked for {saved.stall_seconds:.2f} s)"
    )
    for warning in saved.warnings:
        log.write("event", step=saved.step, event="checkpoint warning", reason=warning)
        log.say(f"warning: {warning}")
