"""The two trainers that are compared, each built in a worker's process, and the questions that a worker is asked."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from slipway.bench import compare
from slipway.bench.train import trainer_step
from slipway.config.schema import RunConfig
from slipway.engine.runtime import as_trained, load_torch
from slipway.plan import make_plan

LEAST_ROUNDS, MOST_ROUNDS = 3, 9


class Trainer(NamedTuple):
    """A trainer that was built.

    step: one optimizer step on random tokens. kernels: operator -> backend; empty if it has no choice.
    """

    step: Callable[[], object]
    device: Any
    kernels: dict[str, str]


def slipway_trainer(config: RunConfig) -> Trainer:
    """Return Slipway's trainer, on one rank."""
    plan = as_trained(make_plan(config), load_torch(config, ranks_here=1))
    from slipway.engine import engine_of
    from slipway.ranks.environment import Place, listening_socket

    listener = listening_socket()
    port = listener.getsockname()[1]
    place = Place(0, 0, 1, "127.0.0.1", port, own_store=True, store_fd=listener.detach())
    device = engine_of(plan.config).connect(plan, place)
    return _warm(Trainer(trainer_step(plan, device), device, plan.kernels))


def plain_trainer(config: RunConfig) -> Trainer:
    """Return a trainer of the same model in plain PyTorch, on a GPU under torch.compile."""
    import torch

    cuda = config.cluster.device.kind == "cuda"
    if cuda:
        only_fused_attention()
    step = compare._plain_step(config, None, compiled=cuda)
    return _warm(Trainer(step, torch.device("cuda" if cuda else "cpu"), {}))


def _warm(trainer: Trainer) -> Trainer:
    """Return the trainer after a first step, which compiles and allocates what it needs."""
    timed(trainer, 1)
    return trainer


def only_fused_attention() -> None:
    """Make scaled_dot_product_attention use flash or cuDNN attention, and fail rather than compute all scores."""
    import torch

    torch.backends.cuda.enable_math_sdp(False)


def timed(trainer: Trainer, steps: int) -> float:
    """Return the mean seconds of a step."""
    from slipway.bench.ceilings import synchronize

    synchronize(trainer.device)
    started = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    synchronize(trainer.device)
    return (time.perf_counter() - started) / steps


def memory_gib(trainer: Trainer) -> float:
    """Return the most memory that the trainer's tensors have held, in GiB."""
    from slipway.train import throughput

    return throughput.memory_gib(trainer.device)


def ceiling(trainer: Trainer) -> float:
    """Return the FLOP/s of a large bf16 matrix product."""
    import torch

    from slipway.bench.ceilings import matmul_flops

    return matmul_flops(torch.bfloat16, trainer.device)


def shares(trainer: Trainer, steps: int) -> dict[str, float]:
    """Return the shares of a step by kind of work; see slipway.metrics.step_time."""
    from slipway.train.profile import profiled

    seconds = profiled(trainer.step, steps, trainer.device)
    whole = sum(seconds.values())
    return {kind: value / whole for kind, value in seconds.items()}


def kernels(trainer: Trainer) -> dict[str, str]:
    """Return the trainer's backends: operator -> backend."""
    return trainer.kernels


def in_turn(asks: dict[str, Callable[[], float]], seconds: float) -> dict[str, list[float]]:
    """Return each one's answers, asked in turn for about so many seconds.

    The first turn is a warm-up and does not count.
    """
    found: dict[str, list[float]] = {name: [] for name in asks}
    for ask in asks.values():
        ask()
    started = time.monotonic()
    while (done := len(next(iter(found.values())))) < LEAST_ROUNDS or (
        done < MOST_ROUNDS and time.monotonic() - started < seconds
    ):
        for name, ask in asks.items():
            found[name].append(ask())
    return found
