"""`slipway bench kernels`: measures each operator and backend at a model's shapes, against the device's ceiling.

Forward and backward pass of one micro batch on one device, as the trainer builds the operator; AdamW steps over one
layer's parameters. Backends of an operator take turns. The share is the time that the ceilings allow (most FLOP/s of a
matrix product, most bytes/s of a large copy, both measured in the same run) over the median that was needed. What fits
a CPU's cache may pass the ceiling of memory.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from slipway.bench.kernel_cases import Scene
from slipway.bench.kernel_counts import least_seconds
from slipway.bench.kernel_table import CASES, OPERATORS, Case, of_operator, trouble
from slipway.bench.options import at_least, configuration, make_folder, of_gpt
from slipway.bench.record import named, publish
from slipway.config.explain import nearest
from slipway.errors import EXIT_DONE, UserError
from slipway.models.gpt.config import gpt_of
from slipway.plan import Plan, make_plan
from slipway.plan.rules import world_size
from slipway.run_dir import RunDir

DEFAULTS = [
    "model.hidden_size=512",
    "model.num_attention_heads=8",
    "model.vocab_size=32000",
    "model.max_position_embeddings=512",
    "training.micro_batch_size=1",
]
SAMPLE_SECONDS = 0.02  # shorter calls are timed several together


@dataclass(frozen=True)
class Row:
    """One backend of an operator."""

    operator: str
    backend: str
    median_ms: float = named("median (ms)")
    least_ms: float = named("least (ms)")
    most_ms: float = named("most (ms)")
    megabytes: float = named("MB")
    gflop: float = named("GFLOP")
    gigabytes_per_second: float = named("GB/s")
    tflops: float = named("TFLOP/s")
    ceiling: str = named("ceiling")
    share: float = named("share")
    memory_mib: float | None = named("memory (MiB)")
    """Device memory beyond what was in use before: the most that one call holds, its results included; None: a CPU."""


@dataclass(frozen=True)
class Summary:
    """The device's measured ceilings, and what could not be measured: operators and backends, by the reason."""

    matmul_tflops: float = named("matmul ceiling (TFLOP/s)")
    memory_gigabytes_per_second: float = named("memory ceiling (GB/s)")
    not_measured: dict[str, str] = named("not measured ({key})")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON and the picture; return the exit code.

    Raises UserError for a configuration of another family, with windows or with several ranks.
    """
    at_least("bench kernels --repeat", options.repeat, 1)
    operators = chosen_operators(options.operators)
    asked = [*([f"model={options.model}"] if options.model else []), *options.overrides]
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        batch = "training.global_batch_size=${training.micro_batch_size}"  # has no meaning here
        config = configuration(DEFAULTS, [*asked, batch], Path(folder))
        of_gpt("bench kernels", config)
        if (window := gpt_of(config).window_size) is not None:
            raise UserError(
                "model.window_size",
                "has no effect in bench kernels: attention is measured without windows",
                value=window,
                use="null",
            )
        if (ranks := world_size(config)) > 1:
            raise UserError(
                "bench kernels",
                f"measures one device, but the configuration has {ranks} ranks",
                do="leave resources.* and parallelism.* at 1",
            )
        plan = make_plan(config)
        make_folder("bench kernels --out", options.out)
        rows, summary = measure(plan, operators, options.repeat, Path(folder))
    record = publish("kernels", options.argv, rows, summary, as_json=options.json, folder=options.out)
    picture = options.out / "bench-kernels.png"
    from slipway.bench.pictures import draw_kernels

    draw_kernels(config, rows, summary, record, picture)
    if not options.json:
        print(f"written   {options.out / 'bench-kernels.json'}, {picture}")
    return EXIT_DONE


def chosen_operators(words: str | None) -> list[str]:
    """Return the names of the operators asked for, in the table's order; all if None.

    Raises UserError for a name that is no operator.
    """
    if words is None:
        return list(OPERATORS)
    names = words.split(",")
    for name in names:
        if name not in OPERATORS:
            raise UserError(
                "bench kernels --operators", "is not an operator", value=name, do=nearest(name, OPERATORS)
            )
    return [name for name in OPERATORS if name in names]


def measure(plan: Plan, operators: list[str], repeat: int, folder: Path) -> tuple[list[Row], Summary]:
    """Time every case of these operators that this device can run, and return the rows and their summary.

    folder: for its files.
    """
    from slipway.engine.runtime import load_torch
    from slipway.kernels.choice import backends
    from slipway.kernels.probe import machine
    from slipway.ranks.local import run_local

    chosen = load_torch(plan.config, ranks_here=1)
    here, config = machine(plan.config.cluster.device.kind), plan.with_kernels(backends(chosen)).trained
    cases, not_here = [], {}
    for case in CASES:
        if case.operator in operators:
            why = trouble(case, here, config)
            if why is None:
                cases.append(case)
            else:
                not_here.setdefault(why, []).append(f"{case.operator} {case.backend}")
    found = folder / "measured.json"
    plan = plan.model_copy(update={"config": config})
    run_local(1, RunDir(folder).logs, lambda place: _rank(plan, place, cases, repeat, found))
    measured = json.loads(found.read_text())
    left_out = {why: ", ".join(names) for why, names in not_here.items()}
    matmul, copy = measured["ceilings"]
    return [Row(**row) for row in measured["rows"]], Summary(matmul, copy, left_out)


def _rank(plan: Plan, place: Any, cases: list[Case], repeat: int, found: Path) -> int:
    import torch

    from slipway.bench.ceilings import copy_bytes_per_second, matmul_flops
    from slipway.engine import engine_of

    config, device = plan.config, engine_of(plan.config).connect(plan, place)
    dtype = torch.bfloat16 if config.training.precision == "bf16" else torch.float32
    matmul, copy = matmul_flops(dtype, device), copy_bytes_per_second(device)
    rows = []
    for operator, described in OPERATORS.items():
        here = of_operator(config, operator)
        scene = Scene(here, device, dtype)
        of_one = [case for case in cases if case.operator == operator]
        built = {case.backend: case.build(scene, case.backend) for case in of_one}
        cost = described.cost(here)
        allowed, bound = least_seconds(cost, matmul, copy)
        for backend, seconds in take_turns(built, repeat, device).items():
            middle, memory = median(seconds), _memory_mib(built[backend], device)
            rows.append(
                Row(
                    operator=operator,
                    backend=backend,
                    median_ms=1e3 * middle,
                    least_ms=1e3 * min(seconds),
                    most_ms=1e3 * max(seconds),
                    megabytes=cost.bytes / 1e6,
                    gflop=cost.flops / 1e9,
                    gigabytes_per_second=cost.bytes / middle / 1e9,
                    tflops=cost.flops / middle / 1e12,
                    ceiling=bound,
                    share=allowed / middle,
                    memory_mib=memory,
                )
            )
    result = {"rows": [asdict(row) for row in rows], "ceilings": [matmul / 1e12, copy / 1e9]}
    found.write_text(json.dumps(result), encoding="utf-8")
    return EXIT_DONE


def _memory_mib(run: Callable[[], object], device: Any) -> float | None:
    import torch

    if device.type == "cpu":
        return None
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def take_turns(built: Mapping[str, Callable[[], object]], repeat: int, device: Any) -> dict[str, list[float]]:
    """Return the seconds of one call, `repeat` samples of each; a noisy machine disturbs all alike."""
    from slipway.bench.ceilings import synchronize

    def sample(run: Callable[[], object], calls: int) -> float:
        synchronize(device)
        started = time.perf_counter()
        for _ in range(calls):
            run()
        synchronize(device)
        return (time.perf_counter() - started) / calls

    calls = {}
    for name, run in built.items():
        sample(run, 1)  # compiles and allocates what it needs
        calls[name] = max(1, math.ceil(SAMPLE_SECONDS / sample(run, 2)))
    seconds: dict[str, list[float]] = {name: [] for name in built}
    for _ in range(repeat):
        for name, run in built.items():
            seconds[name].append(sample(run, calls[name]))
    return seconds
