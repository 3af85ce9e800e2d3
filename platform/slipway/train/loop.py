"""train(plan): the main loop of one rank."""

import time
from pathlib import Path

import torch

from slipway.plan import Plan
from slipway.train import checkpoint, checkpoint_store
from slipway.train.distributed import connect, disconnect
from slipway.train.environment import Place
from slipway.train.metrics import Metrics
from slipway.train.schedule import learning_rate
from slipway.train.setup import Session, set_up
from slipway.train.step import read, train_step, validate, whole_parameters
from slipway.train.throughput import memory_gib, peak_tflops


def train(plan: Plan, place: Place) -> None:
    """Train from the newest checkpoint, or from the start, to the plan's last step."""
    config = plan.config
    device = connect(plan, place)
    session = set_up(plan, device)
    done, consumed = _resume(session)
    metrics = Metrics(plan, done) if place.rank == 0 else None
    peak = peak_tflops(config, device)
    batch_size = config.training.global_batch_size
    steps, last = config.training.steps, config.last_step
    saved = done

    if done == 0:
        _validate(session, metrics, step=0)
    for step in range(done + 1, last + 1):
        started = time.perf_counter()
        following = consumed + batch_size
        batches = read(session, session.train_data, consumed, following if step < last else None)
        waited = time.perf_counter() - started
        rate = learning_rate(config.optimizer, step, steps)
        result = train_step(session, batches, rate)
        consumed = following
        seconds = time.perf_counter() - started
        if metrics:
            achieved = plan.flops_per_step / seconds / plan.world_size / 1e12
            metrics.train(
                step=step,
                loss=result.loss,
                learning_rate=rate,
                grad_norm=result.grad_norm,
                updated=result.updated,
                step_seconds=seconds,
                data_wait_seconds=waited,
                samples_per_second=batch_size / seconds,
                tokens_per_second=batch_size * plan.tokens_per_sample / seconds,
                tflops_per_device=achieved,
                mfu=achieved / peak,
                memory_gib=memory_gib(device),
                consumed_samples=consumed,
            )
        if _due(step, config.validation.interval) or step == steps:
            _validate(session, metrics, step)
        if _due(step, config.checkpoint.interval):
            _save(session, metrics, step, consumed)
            saved = step
    if saved < last:
        _save(session, metrics, last, consumed)

    _close(session, metrics)
    disconnect()


def _due(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0


def _resume(session: Session) -> tuple[int, int]:
    """(steps, samples) that the newest checkpoint has behind it; all ranks must find the same one."""
    path: list[Path | None] = [checkpoint_store.latest(session.plan.config.run.dir)]
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


def _save(session: Session, metrics: Metrics | None, step: int, consumed: int) -> None:
    started = time.perf_counter()
    with whole_parameters(session):
        path = checkpoint.save(session.plan, session.chunks, session.optimizer, step, consumed)
    if metrics:
        seconds = time.perf_counter() - started
        metrics.write("checkpoint", step=step, path=str(path), seconds=seconds)
        metrics.say(f"step {step}  checkpoint {path} ({seconds:.1f} s)")


def _close(session: Session, metrics: Metrics | None) -> None:
    for reader in (session.train_data, session.validation_data):
        if reader:
            reader.close()
    if metrics:
        metrics.close()
