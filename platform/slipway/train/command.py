"""`slipway train`: checks everything that needs no torch, then starts the ranks or becomes one."""

import os
from pathlib import Path
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.models import part
from slipway.plan import Plan, make_plan
from slipway.train import checkpoint_store
from slipway.train.environment import Place, started_rank
from slipway.train.ranks import run_local
from slipway.train.runtime import load_torch
from slipway.train.stopping import check_slice, end_time, listen, measured_pace


def run(config: RunConfig, options: Any = None) -> int:
    """Train the run that `config` describes. Returns the exit code."""
    return run_plan(make_plan(config))


def run_file(path: Path) -> int:
    """Train the plan in a plan.json, as rendered jobs do: ranks read it and compose nothing."""
    return run_plan(Plan.read(path))


def run_plan(plan: Plan) -> int:
    """Train a plan here. Raises UserError before anything is written."""
    config = plan.config
    place = started_rank(os.environ)
    _check_place(plan, place)
    _check_run_dir(config.run.dir)
    continued = checkpoint_store.latest(config.run.dir)
    if continued is not None:
        info = checkpoint_store.read_info(continued)
        checkpoint_store.check_fits(info, config, continued)
        if info.step >= config.last_step:
            print(f"{config.run.dir} is at step {info.step} of {config.training.steps}: nothing left to do")
            return EXIT_DONE
    end = end_time(config, os.environ)
    check_slice(end, measured_pace(config.run.dir / "metrics.jsonl"))
    load_torch(config, ranks_here=config.resources.devices_per_node)
    if continued is not None:
        from slipway.train.checkpoint_index import check_index

        check_index(continued)
    part(config.model.family, "data").make_ready(config, prepare=place is None)
    if place is None or place.rank == 0:
        _write_plan(plan)

    from slipway.train.loop import train

    if place is not None:
        listen()
        return train(plan, place, end)
    return run_local(plan.world_size, config.run.dir / "logs", lambda place: train(plan, place, end))


def _check_place(plan: Plan, place: Place | None) -> None:
    resources = plan.config.resources
    if place is not None and place.world_size != plan.world_size:
        raise UserError(
            f"resources: nodes {resources.nodes} x devices_per_node {resources.devices_per_node} = "
            f"{plan.world_size}, but the launcher started {place.world_size} ranks"
        )
    if place is None and resources.nodes > 1:
        raise UserError(
            f"resources.nodes: {resources.nodes} nodes need a launcher on every node (srun, torchrun or a pod per "
            "rank); this process was started by none; allowed here: 1"
        )


def _check_run_dir(run_dir: Path) -> None:
    nearest = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(f"run.dir: {run_dir} cannot be made, {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"run.dir: cannot write into {nearest}; choose a folder that you own")


def _write_plan(plan: Plan) -> None:
    run_dir = plan.config.run.dir
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        plan.write(run_dir / "plan.json")
    except OSError as error:
        raise UserError(f"run.dir: cannot write into {run_dir} ({error.strerror})") from None
