"""`slipway bench train`: tokens/s and MFU of a configuration on all its ranks, and where a step's time goes.

The trainer's own step, on samples that are made up: first alone, for the rates, then under torch's profiler on every
rank, for the shares. What the profiler itself costs is reported as a ratio; on a CPU most of it falls to waiting, as it
works between the operators. Overrides are those of `slipway train`; without any, a small model on two CPU ranks.
`--plan FILE` measures a plan as jobs carry it: srun, torchrun or a pod may start the ranks, on any number of nodes.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from slipway.bench.batches import random_batch
from slipway.bench.options import OUT, at_least, configuration, make_folder
from slipway.bench.record import named, publish
from slipway.errors import EXIT_DONE, UserError
from slipway.metrics.step_time import KINDS
from slipway.plan import Plan, make_plan, plan_file
from slipway.ranks.environment import Node, Place, launched
from slipway.run_dir import RunDir
from slipway.words import plural

DEFAULTS = [
    "model.num_layers=4",
    "model.hidden_size=256",
    "model.num_attention_heads=4",
    "training.global_batch_size=4",
    "training.micro_batch_size=2",
    "resources.devices_per_node=2",
    "parallelism.use_distributed_optimizer=true",
]
RANKS_SHOWN = 16


@dataclass(frozen=True)
class Row:
    """The parts of a step's time, on one rank or as the mean of several."""

    rank: str
    """Its number, or `mean of N`."""
    stage: int | None
    """None: the pipeline has one."""
    shares: dict[str, float]
    """Shares of the step, by KINDS."""


@dataclass(frozen=True)
class Summary:
    """The rates of the median step, and the conditions of the measurement."""

    ranks: int
    steps: int = named("steps measured")
    step_s: float = named("step, median (s)")
    least_step_s: float = named("step, least (s)")
    most_step_s: float = named("step, most (s)")
    units_per_second: float = named("{units}/s")
    tflops_per_device: float = named("TFLOP/s per device")
    ceiling_tflops: float = named("measured matmul ceiling per device (TFLOP/s)")
    share: float = named("share of the measured ceiling")
    peak_tflops: float = named("peak per device for the MFU (TFLOP/s)")
    peak: str = named("that peak is")
    mfu: float = named("MFU")
    memory_gib: float = named("largest memory of a rank (GiB)")
    profiled_step_s: float = named("step under the profiler (s)")
    profiled_ratio: float = named("step under the profiler / step")
    kernels: str = named("kernels")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON and the picture; return the exit code.

    Raises UserError if the configuration has several nodes.
    """
    at_least("bench train --steps", options.steps, 1)
    at_least("bench train --warmup", options.warmup, 1)
    if options.threads is not None:
        at_least("bench train --threads", options.threads, 1)
    if options.plan is not None:
        return _run_file(options)
    folder_out = options.out or OUT
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        config = configuration(DEFAULTS, options.overrides, Path(folder))
        if config.resources.nodes > 1:
            raise UserError(
                "bench train",
                f"measures the ranks of one node, but resources.nodes is {config.resources.nodes}",
                use="resources.nodes=1, or `slipway bench scaling`, which submits a job to a cluster",
            )
        plan = make_plan(config)
        make_folder("bench train --out", folder_out)
        measured = measure(plan, Path(folder), options.steps, options.warmup, threads=options.threads)
    _publish(plan, measured, options, folder_out)
    return EXIT_DONE


def _run_file(options: argparse.Namespace) -> int:
    """Measure the plan in a file on this process's ranks, or as one of them; return the exit code.

    The rank that leads writes the results.
    """
    from slipway.train.command import check_place

    plan, place = plan_file.read(options.plan, options.overrides), launched(os.environ)
    check_place(plan, place)
    folder_out = options.out or plan.config.run.dir
    leads = place is None or place.leads
    if leads:
        make_folder("run.dir", folder_out)
        plan_file.write(plan, RunDir(folder_out).plan)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        measured = measure(
            plan, Path(folder), options.steps, options.warmup, place=place, threads=options.threads
        )
    if leads:
        _publish(plan, measured, options, folder_out)
    return EXIT_DONE


def _publish(plan: Plan, measured: dict[str, Any], options: argparse.Namespace, folder: Path) -> None:
    rows, summary = table(plan, measured), summarize(plan, measured)
    units = plural(plan.unit)
    record = publish("train", options.argv, rows, summary, units=units, as_json=options.json, folder=folder)
    picture = folder / "bench-train.png"
    from slipway.bench.pictures import draw_step

    draw_step(plan, rows, summary, record, picture)
    if not options.json:
        print(f"written   {folder / 'bench-train.json'}, {picture}")


def table(plan: Plan, measured: dict[str, Any]) -> list[Row]:
    """Return a row per rank or, if there are many, the mean of each pipeline stage's ranks."""
    of_rank = measured["breakdowns"]
    pipeline = plan.config.parallelism.pipeline_model_parallel_size
    many = len(of_rank) > RANKS_SHOWN
    groups: dict[str, list[int]] = {}
    for rank in range(plan.world_size):
        stage = plan.grid.coordinates(rank).pp
        name = f"mean of {len(of_rank) // pipeline}" + (f" in stage {stage}" if pipeline > 1 else "")
        groups.setdefault(name if many else str(rank), []).append(rank)
    rows = []
    for name, ranks in groups.items():
        seconds = {kind: sum(of_rank[r][kind] for r in ranks) for kind in KINDS}
        whole = sum(seconds.values())
        stage = plan.grid.coordinates(ranks[0]).pp if pipeline > 1 else None
        rows.append(Row(name, stage, {kind: value / whole for kind, value in seconds.items()}))
    return rows


def summarize(plan: Plan, measured: dict[str, Any]) -> Summary:
    """Return the rates of the median step; if the profile has a peak, mfu is as the trainer reports it."""
    from slipway.train.peak import of_profile
    from slipway.train.throughput import rates

    ceiling = measured["matmul ceiling"] / 1e12
    _, known = of_profile(plan.config)
    seconds = median(measured["seconds"])
    found = rates(plan, seconds, known or ceiling)
    profiled = median(sum(of_one.values()) for of_one in measured["breakdowns"]) / measured["steps profiled"]
    return Summary(
        ranks=plan.world_size,
        steps=len(measured["seconds"]),
        step_s=seconds,
        least_step_s=min(measured["seconds"]),
        most_step_s=max(measured["seconds"]),
        units_per_second=found["units_per_second"],
        tflops_per_device=found["tflops_per_device"],
        ceiling_tflops=ceiling,
        share=found["tflops_per_device"] / ceiling,
        peak_tflops=known or ceiling,
        peak="of the profile" if known else "measured",
        mfu=found["mfu"],
        memory_gib=measured["memory"],
        profiled_step_s=profiled,
        profiled_ratio=profiled / seconds,
        kernels=", ".join(f"{operator} {backend}" for operator, backend in measured["kernels"].items()),
    )


def measure(
    plan: Plan,
    folder: Path,
    steps: int,
    warmup: int,
    *,
    place: Place | Node | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Return the measurements that `table` and `summarize` need, from all ranks of the plan.

    They are complete only in the process that has rank 0.

    Args:
        plan: Of the ranks, which are all started here unless `place` says otherwise.
        folder: For files of this machine alone.
        steps: How many are measured, and again how many are profiled.
        warmup: Steps before these.
        place: This process's place, if a launcher started it.
        threads: Of torch in each rank; None: the cores are shared between the ranks of a node.
    """
    from slipway.engine.runtime import as_trained, load_torch
    from slipway.ranks.local import run_local

    chosen = load_torch(plan.config, ranks_here=plan.config.resources.devices_per_node)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    here = as_trained(plan, chosen)
    found = folder / "measured.json"

    def body(rank: Place) -> int:
        return _rank(here, rank, steps, warmup, found)

    if isinstance(place, Place):
        body(place)
    else:
        run_local(plan.world_size, RunDir(folder).logs, body, place)
    measured = json.loads(found.read_text()) if place is None or place.leads else {}
    return measured | {"kernels": {line.operator: line.backend for line in chosen}}


def _rank(plan: Plan, place: Any, steps: int, warmup: int, found: Path) -> int:
    import torch

    from slipway.bench.ceilings import matmul_flops, synchronize
    from slipway.engine import engine_of
    from slipway.ranks import signals
    from slipway.train.profile import profiled
    from slipway.train.throughput import memory_gib

    device = engine_of(plan.config).connect(plan, place)
    train_once = trainer_step(plan, device)

    def step() -> None:
        train_once()
        synchronize(device)

    for _ in range(warmup):
        step()
    times = []
    for _ in range(steps):
        torch.distributed.barrier()
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    seconds = torch.tensor(times, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(
        seconds, op=torch.distributed.ReduceOp.MAX
    )  # a step takes as long as its slowest rank
    memory = torch.tensor(memory_gib(device), device=device)
    torch.distributed.all_reduce(memory, op=torch.distributed.ReduceOp.MAX)

    own = profiled(step, steps, device)
    breakdowns: list[Any] = [None] * plan.world_size
    torch.distributed.all_gather_object(breakdowns, own)

    dtype = torch.bfloat16 if plan.config.training.precision == "bf16" else torch.float32
    torch.distributed.barrier()  # all ranks measure at once: on a laptop they share the cores, and so the ceiling
    ceiling = torch.tensor(matmul_flops(dtype, device), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(ceiling)
    if place.rank == 0:
        result = {
            "seconds": seconds.tolist(),
            "steps profiled": steps,
            "breakdowns": breakdowns,
            "memory": memory.item(),
            "matmul ceiling": ceiling.item() / plan.world_size,
            "asked to stop": bool(signals.received),
        }
        found.write_text(json.dumps(result), encoding="utf-8")
    torch.distributed.barrier()
    return EXIT_DONE


def trainer_step(plan: Plan, device: Any) -> Callable[[], None]:
    """Return the trainer's own step on made-up samples, with the optimizer's work marked.

    Process groups must exist.
    """
    from slipway.train.profile import mark_optimizer
    from slipway.train.setup import build_session
    from slipway.train.step import compute, update_weights
    from slipway.train.stopping import Stopping

    session = build_session(plan, device)
    mark_optimizer(session.model)
    batches = [random_batch(plan.config, device, session.model.reads)] * plan.num_microbatches
    stopping = Stopping()

    def step() -> None:
        outcome = compute(session, batches, stopping)
        update_weights(session, plan.config.optimizer.lr, outcome.grad_norm)

    return step
