"""`slipway bench checkpoint`: measures how long a checkpoint blocks training, saved beside training or not.

The two take turns in one run: saves that training waits for, and saves that a thread writes while training goes on. A
third column shows what the writing costs the steps beside it.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from slipway.bench.batches import random_batch
from slipway.bench.options import configuration
from slipway.bench.record import named, publish
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.plan import Plan, make_plan
from slipway.run_dir import RunDir

SHAPE = [
    "model.num_layers=8",
    "model.hidden_size=512",
    "model.num_attention_heads=8",
    "data.sequence_length=128",
    "training.global_batch_size=4",
    "training.micro_batch_size=1",
    "cluster=local",
    "validation.steps=0",
    "resources.devices_per_node=2",
    "parallelism.use_distributed_optimizer=true",
]


@dataclass(frozen=True)
class Row:
    """One kind of save; times in seconds."""

    save: str
    stall_s: float = named("median stall (s)")
    least_stall_s: float = named("least")
    most_stall_s: float = named("most")
    complete_s: float = named("median until complete (s)")
    step_ratio: float = named("step beside it / step alone")


@dataclass(frozen=True)
class Summary:
    """How much shorter training is blocked by a save that is written beside it."""

    mib: float = named("checkpoint size (MiB)")
    stall_ratio: float = named("stall beside training / stall of a save that is waited for")


def run(options: argparse.Namespace) -> int:
    """Measure, print both stalls and their ratio, and return the exit code.

    Raises UserError if --dir is no directory.
    """
    if options.dir is not None and not options.dir.is_dir():
        raise UserError(
            "bench checkpoint --dir",
            "is not a directory",
            value=options.dir,
            do="create it, or name another directory",
        )
    with tempfile.TemporaryDirectory(prefix="slipway-bench-", dir=options.dir) as folder:
        config = configuration(SHAPE, [*options.overrides, "checkpoint.keep_last=1"], Path(folder))
        measured = _measure(config, Path(folder), options.rounds)
    rows = [Row(**values) for values in measured["rows"]]
    sync, beside = (median(measured["stalls"][name]) for name in ("waited for", "beside training"))
    summary = Summary(mib=measured["bytes"] / 2**20, stall_ratio=beside / sync)
    publish("checkpoint", options.argv, rows, summary, as_json=options.json)
    return EXIT_DONE


def _measure(config: RunConfig, folder: Path, rounds: int) -> dict[str, Any]:
    from slipway.engine.runtime import as_trained, load_torch
    from slipway.ranks.local import run_local

    plan = make_plan(config)
    plan = as_trained(plan, load_torch(config, ranks_here=plan.world_size))
    found = folder / "measured.json"
    run_local(plan.world_size, RunDir(folder).logs, lambda place: _rank(plan, place, rounds, found))
    return json.loads(found.read_text())


def _rank(plan: Plan, place: Any, rounds: int, found: Path) -> int:
    import torch

    from slipway.checkpoint.position import Position
    from slipway.checkpoint.save import Saver
    from slipway.data.ledger import DataLedger
    from slipway.engine import engine_of
    from slipway.train.setup import build_session
    from slipway.train.step import compute, update_weights
    from slipway.train.stopping import Stopping

    device = engine_of(plan.config).connect(plan, place)
    session = build_session(plan, device)
    reads = session.model.reads
    batches = [random_batch(plan.config, device, reads) for _ in range(plan.num_microbatches)]
    stopping = Stopping()

    def step() -> float:
        started = time.perf_counter()
        outcome = compute(session, batches, stopping)
        update_weights(session, plan.config.optimizer.lr, outcome.grad_norm)
        return time.perf_counter() - started

    def saver(beside: bool) -> Saver:
        checkpoint = plan.config.checkpoint.model_copy(update={"async_save": beside})
        config = plan.config.model_copy(update={"checkpoint": checkpoint})
        return Saver(plan.model_copy(update={"config": config}), session.model)

    kinds: dict[str, Callable[[Saver, Position], tuple]] = {
        "waited for": _waited_for,
        "beside training": lambda saver, at: _beside(saver, at, step, device),
    }
    savers = {name: saver(name != "waited for") for name in kinds}
    data = DataLedger.begin(0, {"random": 1.0}, {})
    quiet = median([step() for _ in range(5)][1:])
    results: dict[str, list[tuple]] = {name: [] for name in kinds}
    number = 0
    for turn in range(rounds + 1):
        for name, save in kinds.items():
            torch.distributed.barrier()
            number += 1
            result = save(savers[name], Position(data, number, number))
            if turn:
                results[name].append(result)
            step()
    if place.rank == 0:
        size = sum(path.stat().st_size for path in RunDir(plan.config.run.dir).checkpoints.glob("step-*/*"))
        rows = [
            Row(
                save=name,
                stall_s=median(stall for stall, _, _ in of_one),
                least_stall_s=min(stall for stall, _, _ in of_one),
                most_stall_s=max(stall for stall, _, _ in of_one),
                complete_s=median(total for _, total, _ in of_one),
                step_ratio=median(beside for _, _, beside in of_one) / quiet if name != "waited for" else 1.0,
            )
            for name, of_one in results.items()
        ]
        stalls = {name: [stall for stall, _, _ in of_one] for name, of_one in results.items()}
        found.write_text(
            json.dumps({"rows": [asdict(row) for row in rows], "stalls": stalls, "bytes": size}),
            encoding="utf-8",
        )
    torch.distributed.barrier()
    return EXIT_DONE


def _waited_for(saver: Any, at: Any) -> tuple[float, float, float]:
    """Return (stall, time until complete, 0), in seconds, of a save that is waited for."""
    started = time.perf_counter()
    saver.start(at, None)
    saver.wait()
    seconds = time.perf_counter() - started
    return seconds, seconds, 0.0


def _beside(saver: Any, at: Any, step: Callable[[], float], device: Any) -> tuple[float, float, float]:
    """Return (stall, time until complete, median step meanwhile), in seconds, of a save beside training.

    All ranks continue until all of them have saved.
    """
    import torch

    started = time.perf_counter()
    saver.start(at, None)
    stall = time.perf_counter() - started
    steps, saved = [], None
    through = torch.zeros(1, device=device)
    while through.item() < torch.distributed.get_world_size():
        steps.append(step())
        saved = saved or saver.poll()
        through.fill_(float(saved is not None))
        torch.distributed.all_reduce(through)
    assert saved is not None
    return stall, saved.seconds, median(steps)
