"""train(plan): the main loop of one rank."""

import time
from pathlib import Path

import torch

from slipway.errors import EXIT_CONTINUE, EXIT_DONE
from slipway.plan import Plan
from slipway.train import checkpoint
from slipway.train.checkpoint_store import Newest
from slipway.train.distributed import connect, disconnect
from slipway.train.environment import Place
from slipway.train.metrics import FILE, Metrics
from slipway.train.schedule import learning_rate
from slipway.train.setup import Session, set_up
from slipway.train.step import read, train_step, validate, whole_parameters
from slipway.train.stopping import Stopping, measured_pace, started_at
from slipway.train.throughput import memory_gib, peak_tflops, rates


def train(plan: Plan, place: Place, end_time: float | None, continued: Newest) -> int:
    """Train from a verified checkpoint, or from the start, to the plan's last step; returns the exit code.

    end_time: Unix seconds at which this process must have ended; None: no limit. continued: rank 0's counts.
    """
    config = plan.config
    device = connect(plan, place)
    session = set_up(plan, device)
    done, consumed = _resume(session, continued.path)
    metrics = Metrics(plan, done) if place.rank == 0 else None
    stopping = Stopping(end_time if metrics else None, measured_pace(config.run.dir / FILE).save)
    peak = peak_tflops(config, device)
    batch_size = config.training.global_batch_size
    steps, last = config.training.steps, config.last_step
    stop: list[str] = []

    if done == 0:
        _validate(session, metrics, step=0)
    if metrics:
        for path, reason in continued.skipped:
            metrics.write("event", step=done, event="checkpoint skipped", path=str(path), reason=reason)
        metrics.write("event", step=done, event="start", seconds=time.time() - started_at())
    for step in range(done + 1, last + 1):
        started = time.perf_counter()
        following = consumed + batch_size
        batches = read(session, session.train_data, consumed, following if step < last else None)
        waited = time.perf_counter() - started
        rate = learning_rate(config.optimizer, step, steps)
        result = train_step(session, batches, rate, stopping)
        consumed = following
        seconds = time.perf_counter() - started
        if metrics:
            metrics.train(
                step=step,
                loss=result.loss,
                learning_rate=rate,
                grad_norm=result.grad_norm,
                updated=result.updated,
                consumed_samples=consumed,
                data_wait_seconds=waited,
                memory_gib=memory_gib(device),
                **rates(plan, seconds, peak),
            )
        stop = result.stop if step < last else []
        if not stop and (_due(step, config.validation.interval) or step == steps):
            _validate(session, metrics, step)
        if stop or step == last or _due(step, config.checkpoint.interval):
            stopping.save_seconds = _save(session, metrics, step, consumed)
        if stop:
            _say_stop(metrics, step, stop)
            break
        stopping.step_seconds = max(stopping.step_seconds, time.perf_counter() - started)

    _close(session, metrics)
    disconnect()
    return EXIT_CONTINUE if stop else EXIT_DONE


def _due(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0


def _resume(session: Session, found: Path | None) -> tuple[int, int]:
    """(steps, samples) that the checkpoint which rank 0 found has behind it."""
    path = [found]
    torch.distributed.broadcast_object_list(path, src=0)
    if path[0] is None:
        return 0, 0
    info = checkpoint.load(session.plan, session.chunks, session.optimizer, path[0])
    if torch.distributed.get_rank() == 0:
        print(f"continuing from {path[0]} (step {info.step})", flush=True)
    return info.step, info.consumed_samples


def _validate(session: Session, metrics: Metrics | None, step: int) -> None:
    steps = session.plan.config.validation.steps
    if not steps:
        return
    loss = validate(session, steps)
    if metrics:
        metrics.write("validation", step=step, loss=loss)
        metrics.say(f"step {step}  validation loss {loss:.4f}")


def _save(session: Session, metrics: Metrics | None, step: int, consumed: int) -> float:
    """Write a checkpoint; returns how long that took, in seconds."""
    started = time.perf_counter()
    with whole_parameters(session):
        path = checkpoint.save(session.plan, session.chunks, session.optimizer, step, consumed)
    seconds = time.perf_counter() - started
    if metrics:
        metrics.write("checkpoint", step=step, path=str(path), seconds=seconds)
        metrics.say(f"step {step}  checkpoint {path} ({seconds:.1f} s)")
    return seconds


def _say_stop(metrics: Metrics | None, step: int, reasons: list[str]) -> None:
    if metrics:
        why = " and ".join(reasons)
        metrics.write("event", step=step, event="stop", reason=why)
        metrics.say(f"step {step}  stopped well: {why}; the same command continues")


def _close(session: Session, metrics: Metrics | None) -> None:
    for reader in (session.train_data, session.validation_data):
        if reader:
            reader.close()
    if metrics:
        metrics.close()
