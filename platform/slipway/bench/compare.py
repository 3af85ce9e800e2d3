"""`slipway bench compare`: one rank's token rate against the same model in plain PyTorch, eager and compiled.

All take turns in processes of their own, so that a noisy machine disturbs them alike. The references use
scaled_dot_product_attention, fused AdamW and gradient clipping, on GPUs also autocast, one of them torch.compile, and
nothing of Slipway or Megatron-core. Any dense model will do, for example model=gpt3_1_3b or model=llama3_8b on a GPU.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple, cast

from slipway.bench.batches import random_batch
from slipway.bench.options import at_least, configuration, of_gpt
from slipway.bench.record import named, publish
from slipway.config.schema import RunConfig
from slipway.data.text.config import Config as Text
from slipway.data.tokens import tokens_of
from slipway.errors import EXIT_DONE, UserError
from slipway.kernels.compiler import cpp_trouble
from slipway.models.gpt.config import Config as GPTConfig
from slipway.models.gpt.config import gpt_of
from slipway.optimizers.adamw.config import Config as AdamW
from slipway.plan import make_plan
from slipway.words import plural

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


OURS, EAGER, COMPILED = "slipway", "plain PyTorch", "plain PyTorch, compiled"
REFERENCES = {"eager": EAGER, "compiled": COMPILED}


class Turn(NamedTuple):
    """Seconds of a step, by the clock and of all the process's threads."""

    seconds: float
    processor: float


@dataclass
class Measured:
    """One trainer: seconds from its process's start to the end of its first step, and its turns after a warm-up."""

    first_step: float = 0.0
    turns: list[Turn] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One trainer; its ratios compare turns beside each other."""

    trainer: str
    units_per_second: float = named("median {units}/s")
    least_units_per_second: float = named("least")
    most_units_per_second: float = named("most")
    tflops: float = named("TFLOP/s")
    share: float = named("share of the matmul ceiling")
    first_step_s: float = named("first step after (s)")
    ratio: float = named("slipway / it, median of turns")
    ratio_lower: float = named("lower quartile")
    ratio_upper: float = named("upper quartile")
    processor_ratio: float = named("by processor time")


@dataclass(frozen=True)
class Summary:
    """The conditions of the measurement."""

    ceiling_tflops: float = named("measured matmul ceiling (TFLOP/s)")
    left_out: str | None = named("left out")


def run(options: argparse.Namespace) -> int:
    """Measure, print the rates and their ratios, and return the exit code.

    Raises UserError for a configuration that the reference cannot follow.
    """
    at_least("bench compare --rounds", options.rounds, 1)
    at_least("bench compare --steps", options.steps, 1)
    references = _asked(options.references)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        config = configuration(SHAPE, options.overrides, Path(folder, "run"))
        of_gpt("bench compare", config)
        plan = make_plan(config)
        model, data = gpt_of(config), tokens_of(config)
        joined = isinstance(data, Text) and not (
            data.reset_attention_mask or data.reset_position_ids or data.eod_mask_loss
        )
        if plan.world_size > 1 or not joined:
            raise UserError(
                "bench compare",
                f"{model.name} on {plan.world_size} ranks cannot be compared: the reference runs "
                "on one rank and mixes documents",
                do="set resources.* and parallelism.* to 1, "
                "and data.reset_attention_mask, data.reset_position_ids and data.eod_mask_loss to false",
            )
        if config.optimizer.name != "adamw":
            raise UserError(
                "optimizer.name",
                "cannot be compared: the reference has AdamW",
                value=config.optimizer.name,
                use="adamw",
            )
        check_reference(model)
        left_out = None
        if COMPILED in references and config.cluster.device.kind == "cpu" and (trouble := cpp_trouble()):
            references.remove(COMPILED)
            left_out = f"{COMPILED}: {trouble}"
        measured, ceiling = _measure(config, references, options)
    units = config.training.global_batch_size * plan.units_per_sample
    rows = [
        _row(name, one, measured[OURS], units, plan.flops_per_step, ceiling) for name, one in measured.items()
    ]
    summary = Summary(ceiling_tflops=ceiling / 1e12, left_out=left_out)
    publish("compare", options.argv, rows, summary, units=plural(plan.unit), as_json=options.json)
    return EXIT_DONE


COMPUTED = frozenset(
    {
        *("family", "name", "num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads"),
        *("num_query_groups", "kv_channels", "vocab_size", "make_vocab_size_divisible_by"),
        *(
            "max_position_embeddings",
            "position_embedding_type",
            "rotary_base",
            "normalization",
            "norm_epsilon",
        ),
        *("activation", "add_bias_linear", "untie_embeddings_and_output_weights", "init_method_std"),
    }
)
"""The fields of `model` that the reference follows. Dropout costs the same wherever it is; it has none."""


def check_reference(model: GPTConfig) -> None:
    """Raise UserError for a field by which the model differs from the reference."""
    for name, own in GPTConfig.model_fields.items():
        value = getattr(model, name)
        if name not in COMPUTED and value != own.default:
            least = "null" if own.default is None else str(own.default).lower()
            shown = getattr(value, "type", value)  # a section is named by its type
            raise UserError(
                f"model.{name}", "is not in the reference of bench compare", value=shown, use=least
            )


def _asked(words: str) -> list[str]:
    """Return the names of the references in `eager,compiled`. Raises UserError for any other word."""
    for word in words.split(","):
        if word not in REFERENCES:
            raise UserError(
                "bench compare --references", "is not a reference", value=word, use=",".join(REFERENCES)
            )
    return [REFERENCES[word] for word in words.split(",")]


def _row(name: str, one: Measured, ours: Measured, units: int, flops: float, ceiling: float) -> Row:
    """Return a trainer's row; units and flops: of a step, ceiling: FLOP/s."""
    seconds = [turn.seconds for turn in one.turns]
    pairs = list(zip(ours.turns, one.turns, strict=True))
    ratios = [theirs.seconds / own.seconds for own, theirs in pairs]
    lower, _, upper = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Row(
        trainer=name,
        units_per_second=units / median(seconds),
        least_units_per_second=units / max(seconds),
        most_units_per_second=units / min(seconds),
        tflops=flops / median(seconds) / 1e12,
        share=flops / median(seconds) / ceiling,
        first_step_s=one.first_step,
        ratio=median(ratios),
        ratio_lower=lower,
        ratio_upper=upper,
        processor_ratio=median(theirs.processor / own.processor for own, theirs in pairs),
    )


def _measure(
    config: RunConfig, references: Sequence[str], options: argparse.Namespace
) -> tuple[dict[str, Measured], float]:
    """Return what each trainer took, and the FLOP/s of a large matrix product."""
    context = multiprocessing.get_context("spawn")
    builds = {OURS: _slipway_step, EAGER: _plain_step, COMPILED: partial(_plain_step, compiled=True)}
    workers: dict[str, tuple[Connection, Any]] = {}
    found = {name: Measured() for name in (OURS, *references)}
    for name in found:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_worker, args=(theirs, builds[name], config, options.threads), daemon=True
        )
        started = time.perf_counter()
        process.start()
        theirs.close()  # so that recv fails when the process ends
        ours.send(1)
        try:
            ours.recv()
        except EOFError:
            raise UserError(
                "bench compare", f"{name} exited before its first step", do="see its output above"
            ) from None
        found[name].first_step = time.perf_counter() - started
        workers[name] = (ours, process)
    names = list(workers)
    for turn in range(options.rounds + 1):  # the first turn warms up
        for name in names:
            pipe, _ = workers[name]
            pipe.send(options.steps)
            taken = pipe.recv()
            if turn:
                found[name].turns.append(Turn(*(seconds / options.steps for seconds in taken)))
        names = [*names[1:], names[0]]  # each follows every other one, and none is always first
    ceilings = []
    for pipe, process in workers.values():
        pipe.send(0)
        ceilings.append(pipe.recv())
        process.join(30)
    return found, max(ceilings)


def _worker(pipe: Connection, build: Callable, config: RunConfig, threads: int | None) -> None:
    step = build(config, threads)
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


def _slipway_step(config: RunConfig, threads: int | None) -> Callable[[], object]:
    """Return the trainer's own step on one rank, on random tokens."""
    from slipway.engine.runtime import as_trained, load_torch

    plan = make_plan(config)
    plan = as_trained(plan, load_torch(config, ranks_here=1))
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
    batch = random_batch(config, device, session.model.reads)
    batches = [batch] * plan.num_microbatches
    stopping = Stopping()

    def step() -> None:
        outcome = compute(session, batches, stopping)
        update_weights(session, config.optimizer.lr, outcome.grad_norm)

    return step


def _plain_step(config: RunConfig, threads: int | None, compiled: bool = False) -> Callable[[], object]:
    """Return a step of the reference; compiled afresh: what the machine has compiled before does not count."""
    from slipway.engine.runtime import wait_without_spinning

    wait_without_spinning()  # as the trainer does
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(config.run.dir).parent / "compiled")
    import torch

    from slipway.bench.plain_gpt import PlainGPT

    if threads:
        torch.set_num_threads(threads)
    settings, device = (
        cast(AdamW, config.optimizer),
        torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )
    with device:  # draws the weights on the device
        model: Any = PlainGPT(gpt_of(config))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    loss_of = torch.compile(model) if compiled else model
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
