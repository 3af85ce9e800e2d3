"""`slipway bench compare`: one rank's token rate against the same model in plain PyTorch.

The two take turns in processes of their own, so that a noisy machine disturbs both alike. The reference uses
scaled_dot_product_attention, fused AdamW and gradient clipping, on GPUs also torch.compile and autocast, and nothing
of Slipway or Megatron-core. Any dense model will do, for example model=gpt3_1_3b or model=llama3_8b on a GPU.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, cast

from slipway.bench.batches import random_batch
from slipway.bench.options import at_least, configuration
from slipway.bench.record import named, publish
from slipway.config.schema import RunConfig
from slipway.data.text.config import text_of
from slipway.errors import EXIT_DONE, UserError
from slipway.kernels.choice import backends
from slipway.models.gpt.config import gpt_of
from slipway.optimizers.adamw.config import Config as AdamW
from slipway.plan import make_plan
from slipway.plan.units import plural

SHAPE = [
    "model=gpt3_125m",
    "parallelism=single",
    "model.num_layers=6",
    "model.hidden_size=384",
    "model.num_attention_heads=6",
    "model.kv_channels=64",
    "model.vocab_size=8192",
    "model.max_position_embeddings=256",
    "data.sequence_length=256",
    "training.global_batch_size=4",
    "training.micro_batch_size=4",
    "training.precision=fp32",
    "training.recompute=none",
    "cluster=local",
    "validation.steps=0",
]


@dataclass(frozen=True)
class Row:
    """One trainer."""

    trainer: str
    units_per_second: float = named("median {units}/s")
    least_units_per_second: float = named("least")
    most_units_per_second: float = named("most")
    tflops: float = named("TFLOP/s")
    share: float = named("share of the matmul ceiling")


@dataclass(frozen=True)
class Summary:
    """The ratios, each the median of the turns."""

    ratio: float = named("slipway / plain PyTorch (median of turns)")
    processor_ratio: float = named("the same by processor time")
    ceiling_tflops: float = named("measured matmul ceiling (TFLOP/s)")


def run(options: argparse.Namespace) -> int:
    """Measure, and print both rates and their ratio."""
    at_least("bench compare --rounds", options.rounds, 1)
    at_least("bench compare --steps", options.steps, 1)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        config = configuration(SHAPE, options.overrides, Path(folder, "run"))
        plan = make_plan(config)
        model, data = gpt_of(config), text_of(config)
        joined = not (data.reset_attention_mask or data.reset_position_ids or data.eod_mask_loss)
        if plan.world_size > 1 or model.num_moe_experts or model.rope_scaling_factor or not joined:
            raise UserError(
                "bench compare",
                f"{model.name} on {plan.world_size} ranks cannot be compared: the reference is a dense model without "
                "rope_scaling_factor on one rank, which does not separate documents",
            )
        seconds, ceiling = _measure(config, options)
    units = config.training.global_batch_size * plan.units_per_sample
    rows = [
        _row(name, [taken for taken, _ in of_one], units, plan.flops_per_step, ceiling * 1e12)
        for name, of_one in seconds.items()
    ]
    turns = list(zip(seconds["slipway"], seconds["plain PyTorch"], strict=True))
    summary = Summary(
        ratio=median(plain[0] / ours[0] for ours, plain in turns),
        processor_ratio=median(plain[1] / ours[1] for ours, plain in turns),
        ceiling_tflops=ceiling,
    )
    publish("compare", options.argv, rows, summary, units=plural(plan.unit), as_json=options.json)
    return EXIT_DONE


def _row(name: str, seconds: list[float], units: int, flops: float, ceiling: float) -> Row:
    """Return a trainer's row; seconds: per step, units and flops: of a step, ceiling: FLOP/s."""
    return Row(
        trainer=name,
        units_per_second=units / median(seconds),
        least_units_per_second=units / max(seconds),
        most_units_per_second=units / min(seconds),
        tflops=flops / median(seconds) / 1e12,
        share=flops / median(seconds) / ceiling,
    )


def _measure(
    config: RunConfig, options: argparse.Namespace
) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """(seconds, processor seconds) per step of each turn, without the first; TFLOP/s of a large matrix product."""
    context = multiprocessing.get_context("spawn")
    workers: dict[str, tuple[Connection, Any]] = {}
    for name, build in (("slipway", _slipway_step), ("plain PyTorch", _plain_step)):
        ours, theirs = context.Pipe()
        words = (theirs, build, config, options.threads, options.eager)
        process = context.Process(target=_worker, args=words, daemon=True)
        process.start()
        workers[name] = (ours, process)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
    for turn in range(options.rounds + 1):
        for name, (pipe, _) in workers.items():
            pipe.send(options.steps)
            taken, worked = pipe.recv()
            if turn:
                seconds[name].append((taken / options.steps, worked / options.steps))
    ceilings = []
    for pipe, process in workers.values():
        pipe.send(0)
        ceilings.append(pipe.recv())
        process.join(30)
    return seconds, max(ceilings) / 1e12


def _worker(pipe: Connection, build: Callable, config: RunConfig, threads: int | None, eager: bool) -> None:
    step = build(config, threads, eager)
    import torch

    from slipway.bench.ceilings import matmul_flops, synchronize

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    while steps := pipe.recv():
        started, worked = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        synchronize(device)
        pipe.send((time.perf_counter() - started, time.process_time() - worked))
    pipe.send(matmul_flops(torch.bfloat16 if config.training.precision == "bf16" else torch.float32, device))


def _slipway_step(config: RunConfig, threads: int | None, eager: bool = False) -> Callable[[], object]:
    """The trainer's own step on one rank, on random tokens."""
    from slipway.engine.runtime import load_torch

    plan = make_plan(config)
    plan = plan.with_kernels(backends(load_torch(config, ranks_here=1)))
    import torch

    if threads:
        torch.set_num_threads(threads)
    from slipway.engine import engine_of
    from slipway.ranks.environment import Place, listening_socket
    from slipway.train.setup import build_session
    from slipway.train.step import compute, update_weights
    from slipway.train.stopping import Stopping

    Path(config.run.dir).mkdir(parents=True, exist_ok=True)
    listener = listening_socket()
    port = listener.getsockname()[1]
    place = Place(0, 0, 1, "127.0.0.1", port, own_store=True, store_fd=listener.detach())
    device = engine_of(config).connect(plan, place)
    session = build_session(plan, device)
    batch = random_batch(config, device)
    batches = [batch] * plan.num_microbatches
    stopping = Stopping()

    def step() -> None:
        outcome = compute(session, batches, stopping)
        update_weights(session, config.optimizer.lr, outcome.grad_norm)

    return step


def _plain_step(config: RunConfig, threads: int | None, eager: bool = False) -> Callable[[], object]:
    from slipway.engine.runtime import wait_without_spinning

    wait_without_spinning()  # the same for both
    import torch

    from slipway.bench.plain_gpt import PlainGPT

    if threads:
        torch.set_num_threads(threads)
    settings, device = (
        cast(AdamW, config.optimizer),
        torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )
    model: Any = PlainGPT(gpt_of(config)).to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    loss_of = model if eager or device.type == "cpu" else torch.compile(model)
    bf16 = config.training.precision == "bf16"
    batch = random_batch(config, device)
    microbatches = config.training.global_batch_size // config.training.micro_batch_size

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        for _ in range(microbatches):
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = loss_of(batch["tokens"], batch["labels"]) / microbatches
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_grad)
        optimizer.step()

    return step
