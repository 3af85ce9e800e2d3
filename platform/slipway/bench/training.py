"""`slipway bench training`: one rank's token rate against a plain PyTorch GPT of the same shape.

The two take turns in processes of their own, so that a noisy machine disturbs both alike; the reference uses
scaled_dot_product_attention, fused AdamW and gradient clipping, and nothing of Slipway or Megatron-core.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from slipway.bench.record import publish
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE
from slipway.kernels.choice import resolved

SHAPE = [
    "model.num_layers=6",
    "model.hidden_size=384",
    "model.num_attention_heads=6",
    "training.sequence_length=256",
    "training.global_batch_size=4",
    "training.micro_batch_size=4",
    "cluster=local",
    "validation.steps=0",
]


def main(argv: Sequence[str]) -> int:
    """Measure, and print both rates and their ratio."""
    parser = argparse.ArgumentParser(prog="slipway bench training", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=7, help="turns of each (default 7; the first is warm-up)"
    )
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps in a turn (default 4)")
    parser.add_argument("--threads", type=int, default=None, help="torch threads (default: all cores)")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides of the shape")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        config = compose([*SHAPE, *options.overrides, f"run.dir={folder}/run"])
        seconds = _measure(config, options.rounds, options.steps, options.threads)
    tokens = config.training.global_batch_size * config.training.sequence_length
    rates = {name: [tokens / s for s in of_one] for name, of_one in seconds.items()}
    rows = [
        {"trainer": name, "median tokens/s": median(of_one), "least": min(of_one), "most": max(of_one)}
        for name, of_one in rates.items()
    ]
    turns = zip(rates["slipway"], rates["plain PyTorch"], strict=True)
    ratio = median(ours / plain for ours, plain in turns)
    publish(
        "training", argv, rows, {"slipway / plain PyTorch (median of turns)": ratio}, as_json=options.json
    )
    return EXIT_DONE


def _measure(config: RunConfig, rounds: int, steps: int, threads: int | None) -> dict[str, list[float]]:
    """Seconds per step of each turn, without the first."""
    context = multiprocessing.get_context("spawn")
    workers: dict[str, tuple[Connection, Any]] = {}
    for name, build in (("slipway", _slipway_step), ("plain PyTorch", _plain_step)):
        ours, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(theirs, build, config, threads), daemon=True)
        process.start()
        workers[name] = (ours, process)
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(rounds + 1):
        for name, (pipe, _) in workers.items():
            pipe.send(steps)
            taken = pipe.recv()
            if turn:
                seconds[name].append(taken / steps)
    for pipe, process in workers.values():
        pipe.send(0)
        process.join(30)
    return seconds


def _worker(pipe: Connection, build: Callable, config: RunConfig, threads: int | None) -> None:
    step = build(config, threads)
    while steps := pipe.recv():
        started = time.perf_counter()
        for _ in range(steps):
            step()
        pipe.send(time.perf_counter() - started)


def _slipway_step(config: RunConfig, threads: int | None) -> Callable[[], object]:
    """The trainer's own step on one rank, on random tokens."""
    from slipway.plan import make_plan
    from slipway.train.runtime import load_torch

    config = resolved(config, load_torch(config, ranks_here=1))
    import torch

    if threads:
        torch.set_num_threads(threads)
    from slipway.train.distributed import connect
    from slipway.train.environment import Place, listening_socket
    from slipway.train.setup import build_session
    from slipway.train.step import compute, update_weights
    from slipway.train.stopping import Stopping

    plan = make_plan(config)
    Path(config.run.dir).mkdir(parents=True, exist_ok=True)
    listener = listening_socket()
    device = connect(plan, Place(0, 0, 1, "127.0.0.1", listener.getsockname()[1], listener.detach()))
    session = build_session(plan, device)
    batch = random_batch(config)
    batches = [batch for _ in range(plan.num_microbatches)]
    stopping = Stopping()

    def step() -> None:
        outcome = compute(session, batches, stopping)
        update_weights(session, config.optimizer.lr, outcome.grad_norm)

    return step


def _plain_step(config: RunConfig, threads: int | None) -> Callable[[], object]:
    import torch

    from slipway.bench.plain_gpt import PlainGPT

    if threads:
        torch.set_num_threads(threads)
    settings = config.optimizer
    model = PlainGPT(config.model)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    batch = random_batch(config)
    microbatches = config.training.global_batch_size // config.training.micro_batch_size

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for _ in range(microbatches):
            loss = model(batch["tokens"], batch["labels"]) / microbatches
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_grad)
        optimizer.step()
        return total

    return step


def random_batch(config: RunConfig) -> dict[str, Any]:
    """A microbatch of random tokens, with the fields of the GPT family's batches."""
    import torch

    training = config.training
    shape = (training.micro_batch_size, training.sequence_length)
    generator = torch.Generator().manual_seed(training.seed)
    tokens = torch.randint(config.model.vocab_size, (shape[0], shape[1] + 1), generator=generator)
    return {
        "tokens": tokens[:, :-1].contiguous(),
        "labels": tokens[:, 1:].contiguous(),
        "loss_mask": torch.ones(shape),
        "position_ids": torch.arange(shape[1]).expand(shape).contiguous(),
    }
