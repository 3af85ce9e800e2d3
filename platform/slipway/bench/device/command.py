"""`slipway bench device`: measures on all ranks of this machine, and writes the file of constants for plans.

The ranks are started as training starts them, with as many threads each. What they do together, collectives above all,
is measured among all of them; a plan with fewer is estimated with the same links.
"""

import argparse
import json
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from slipway.bench.device import fit
from slipway.bench.options import configuration, make_folder
from slipway.bench.record import named, publish, write
from slipway.errors import EXIT_DONE, UserError
from slipway.files import write_whole
from slipway.plan import Plan, make_plan
from slipway.plan.step.hardware import Hardware
from slipway.run_dir import RunDir

DEFAULTS = ["parallelism=dp", "model=demo", "training.micro_batch_size=1", "cluster=local"]


@dataclass(frozen=True)
class Row:
    """What was measured of one kind of work, and how well the constants reproduce it."""

    work: str
    times: int = named("sizes")
    best: str = named("best")
    error: float = named("error of the constants, median")


@dataclass(frozen=True)
class Summary:
    """The constants, and the ranks that they were measured on."""

    ranks: int
    threads: int = named("threads of each")
    constants: dict[str, float] = named("{key}")


def run(options: argparse.Namespace) -> int:
    """Measure, fit, print the table, write the file and the picture; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        plan = _plan(options.overrides, Path(folder))
        make_folder("bench device --out", options.out)
        measured = _measure(plan, Path(folder))
    config = plan.config
    samples = [[fit.Timed(*one) for one in of_rank] for of_rank in measured["samples"]]
    hardware = fit.hardware(
        samples,
        device=config.cluster.device.name,
        precision=config.training.precision,
        on_cpu=config.cluster.device.kind == "cpu",
    )
    path = options.out / f"device-{config.training.precision}.json"
    write_whole(path, hardware.model_dump_json(indent=1) + "\n")
    together = fit.middle(samples)
    rows = [Row(*row) for row in fit.table(together, hardware, plan.world_size)]
    summary = Summary(plan.world_size, measured["threads"], _constants(hardware))
    quiet = options.json and options.check  # then only the check's object is printed
    record = (write if quiet else partial(publish, as_json=options.json))(
        "device", options.argv, rows, summary, folder=options.out
    )
    picture = options.out / "bench-device.png"
    from slipway.bench.device.picture import draw

    draw(together, hardware, plan.world_size, record, picture)
    if not options.json:
        print(f"written   {path}, {picture}\nuse it    slipway plan cluster.device.measured={path} ...")
    if options.check:
        from slipway.bench.device.check import check

        layouts, errors = check(options.overrides, plan.world_size, path.absolute())
        folder = options.out / "check"
        make_folder("bench device --out", folder)
        publish("device", options.argv, layouts, errors, as_json=options.json, folder=folder)
    return EXIT_DONE


def _plan(overrides: list[str], folder: Path) -> Plan:
    """Return the plan of a small model on the ranks that are asked for; only their number matters.

    Raises UserError for several nodes.
    """
    config = configuration(DEFAULTS, overrides, folder)
    if config.resources.nodes > 1:
        raise UserError(
            "bench device",
            "measures the devices of one node",
            value=config.resources.nodes,
            use="resources.nodes=1",
        )
    ranks = config.resources.devices_per_node
    training = config.training.model_copy(update={"global_batch_size": ranks})
    return make_plan(config.model_copy(update={"training": training}))


def _constants(hardware: Hardware) -> dict[str, float]:
    found = {"peak (TFLOP/s)": hardware.peak_tflops, "memory (GB/s)": hardware.memory_gb_per_s}
    found |= {name.replace("_", " "): value for name, value in hardware.rates}
    return found | {f"link {name.replace('_', ' ')}": value for name, value in hardware.inside}


def _measure(plan: Plan, folder: Path) -> dict[str, Any]:
    from slipway.engine.runtime import as_trained, load_torch
    from slipway.ranks.local import run_local

    here = as_trained(plan, load_torch(plan.config, ranks_here=plan.world_size))
    found = folder / "measured.json"
    run_local(plan.world_size, RunDir(folder).logs, lambda place: _rank(here, place, found))
    return json.loads(found.read_text(encoding="utf-8"))


def _rank(plan: Plan, place: Any, found: Path) -> int:
    import torch

    from slipway.bench.device.samples import device_samples, exchange_samples
    from slipway.engine import engine_of

    device = engine_of(plan.config).connect(plan, place)
    dtype = torch.bfloat16 if plan.config.training.precision == "bf16" else torch.float32
    torch.distributed.barrier()
    own = [*device_samples(device, dtype)]
    torch.distributed.barrier()  # finished ranks leave their cores to the others: all take part in exchanges
    own += exchange_samples(device, dtype)
    every: list[Any] = [None] * plan.world_size
    torch.distributed.all_gather_object(every, [tuple(one) for one in own])
    if place.rank == 0:
        write_whole(found, json.dumps({"samples": every, "threads": torch.get_num_threads()}))
    torch.distributed.barrier()
    return EXIT_DONE
