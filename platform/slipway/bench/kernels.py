"""`slipway bench kernels`: each operator and backend at a model's shapes, against the device's measured ceiling.

Forward and backward pass of one micro batch on one device, as the trainer builds the operator; AdamW steps over one
layer's parameters. Backends of an operator take turns. The share is the time that the ceilings allow (most FLOP/s of
a matrix product, most bytes/s of a large copy, both measured in the same run) over the median that was needed. What
fits a CPU's cache may pass the ceiling of memory.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from slipway.bench.kernel_cases import CASES, OPERATORS, Case, Scene, of_operator, trouble
from slipway.bench.kernel_counts import least_seconds
from slipway.bench.options import RANDOM_TOKENS, at_least, make_folder, with_defaults
from slipway.bench.record import publish
from slipway.config.compose import compose
from slipway.config.explain import nearest
from slipway.errors import EXIT_DONE, UserError
from slipway.plan import Plan, make_plan
from slipway.plan.rules import world_size

DEFAULTS = [
    "model.hidden_size=512",
    "model.num_attention_heads=8",
    "model.vocab_size=32000",
    "model.max_position_embeddings=512",
    "training.micro_batch_size=1",
]
SAMPLE_SECONDS = 0.02  # shorter calls are timed several together


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON and the picture."""
    at_least("bench kernels --repeat", options.repeat, 1)
    operators = chosen_operators(options.operators)
    asked = [*([f"model={options.model}"] if options.model else []), *options.overrides]
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        config = compose(
            [
                *with_defaults(DEFAULTS, asked),
                "training.global_batch_size=${training.micro_batch_size}",  # of no meaning here
                RANDOM_TOKENS,
                f"run.dir={folder}",
            ]
        )
        if (ranks := world_size(config)) > 1:
            raise UserError(
                "bench kernels",
                f"measures one device, but the configuration has {ranks} ranks",
                do="leave resources.* and parallelism.* at 1",
            )
        plan = make_plan(config)
        make_folder("bench kernels --out", options.out)
        measured = _measure(plan, operators, options.repeat, Path(folder))
    record = publish(
        "kernels",
        options.argv,
        measured["rows"],
        measured["summary"],
        as_json=options.json,
        folder=options.out,
    )
    picture = options.out / "bench-kernels.png"
    from slipway.bench.pictures import draw_kernels

    draw_kernels(config, record, picture)
    if not options.json:
        print(f"written   {options.out / 'bench-kernels.json'}, {picture}")
    return EXIT_DONE


def chosen_operators(words: str | None) -> list[str]:
    """Names of operators, in the table's order."""
    if words is None:
        return list(OPERATORS)
    names = words.split(",")
    for name in names:
        if name not in OPERATORS:
            raise UserError(
                "bench kernels --operators", "is not an operator", value=name, do=nearest(name, OPERATORS)
            )
    return [name for name in OPERATORS if name in names]


def _measure(plan: Plan, operators: list[str], repeat: int, folder: Path) -> dict[str, Any]:
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
    run_local(1, folder / "logs", lambda place: _rank(plan, place, cases, repeat, found))
    measured = json.loads(found.read_text())
    measured["summary"] |= {f"not measured ({why})": ", ".join(names) for why, names in not_here.items()}
    return measured


def _rank(plan: Plan, place: Any, cases: list[Case], repeat: int, found: Path) -> int:
    import torch

    from slipway.bench.ceilings import copy_bytes_per_second, matmul_flops
    from slipway.engine.megatron.groups import connect

    config, device = plan.config, connect(plan, place)
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
            middle = median(seconds)
            rows.append(
                {
                    "operator": operator,
                    "backend": backend,
                    "median (ms)": 1e3 * middle,
                    "least (ms)": 1e3 * min(seconds),
                    "most (ms)": 1e3 * max(seconds),
                    "MB": cost.bytes / 1e6,
                    "GFLOP": cost.flops / 1e9,
                    "GB/s": cost.bytes / middle / 1e9,
                    "TFLOP/s": cost.flops / middle / 1e12,
                    "ceiling": bound,
                    "share": allowed / middle,
                }
            )
    summary = {"matmul ceiling (TFLOP/s)": matmul / 1e12, "memory ceiling (GB/s)": copy / 1e9}
    found.write_text(json.dumps({"rows": rows, "summary": summary}), encoding="utf-8")
    return EXIT_DONE


def take_turns(built: Mapping[str, Callable[[], object]], repeat: int, device: Any) -> dict[str, list[float]]:
    """Seconds of one call, `repeat` samples of each; a noisy machine disturbs all alike."""
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
        sample(run, 1)  # whatever is compiled or allocated at first
        calls[name] = max(1, math.ceil(SAMPLE_SECONDS / sample(run, 2)))
    seconds: dict[str, list[float]] = {name: [] for name in built}
    for _ in range(repeat):
        for name, run in built.items():
            seconds[name].append(sample(run, calls[name]))
    return seconds
