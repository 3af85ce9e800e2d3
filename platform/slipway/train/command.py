"""`slipway train`: checks everything that needs no torch, then starts the ranks or becomes one."""

import os
from pathlib import Path
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.models import part
from slipway.plan import Plan, make_plan
from slipway.train import checkpoint_store
from slipway.train.runtime import load_torch


def run(config: RunConfig, options: Any = None) -> int:
    """Train the run that `config` describes. Returns the exit code."""
    return run_plan(make_plan(config))


def run_file(path: Path) -> int:
    """Train the plan in a plan.json, as rendered jobs do: ranks read it and compose nothing."""
    return run_plan(Plan.read(path))


def run_plan(plan: Plan) -> int:
    """Train a plan here. Raises UserError before anything is written."""
    config = plan.config
    _check_checkpoint(plan)
    if _nothing_left(plan):
        print(f"{config.run.dir} is at step {_done(plan)} of {config.training.steps}: nothing left to do")
        return EXIT_DONE
    from slipway.train.environment import started_rank

    family_data = part(config.model.family, "data")
    place = started_rank(os.environ)
    if place is not None:
        _check_world(plan, place.world_size)
        family_data.make_ready(config, prepare=False)
        if place.rank == 0:
            _write_plan(plan)
        load_torch(config, ranks_here=config.resources.devices_per_node)
        from slipway.train.loop import train

        train(plan, place)
        return EXIT_DONE
    if config.resources.nodes > 1:
        raise UserError(
            f"resources.nodes: {config.resources.nodes} nodes need a launcher on every node (srun, torchrun or "
            "a pod per rank); this process was started by none; allowed here: 1"
        )
    family_data.make_ready(config, prepare=True)
    _write_plan(plan)
    load_torch(config, ranks_here=plan.world_size)
    from slipway.train.loop import train
    from slipway.train.ranks import run_local

    return run_local(plan.world_size, config.run.dir / "logs", lambda place: train(plan, place))


def _check_checkpoint(plan: Plan) -> None:
    path = checkpoint_store.latest(plan.config.run.dir)
    if path is not None:
        checkpoint_store.check_fits(checkpoint_store.read_info(path), plan.config, path)


def _done(plan: Plan) -> int:
    path = checkpoint_store.latest(plan.config.run.dir)
    return checkpoint_store.read_info(path).step if path else 0


def _nothing_left(plan: Plan) -> bool:
    training = plan.config.training
    return _done(plan) >= min(training.steps, training.stop_after_step or training.steps)


def _check_world(plan: Plan, world_size: int) -> None:
    resources = plan.config.resources
    if world_size != plan.world_size:
        raise UserError(
            f"resources: nodes {resources.nodes} x devices_per_node {resources.devices_per_node} = "
            f"{plan.world_size}, but the launcher started {world_size} ranks"
        )


def _write_plan(plan: Plan) -> None:
    run_dir = plan.config.run.dir
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        plan.write(run_dir / "plan.json")
    except OSError as error:
        raise UserError(f"run.dir: cannot write into {run_dir} ({error.strerror})") from None
