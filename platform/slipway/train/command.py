"""`slipway train`: checks everything that needs no torch, then starts the ranks or becomes one."""

import os
from pathlib import Path
from typing import Any

from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, UserError
from slipway.models import part
from slipway.plan import Plan, make_plan
from slipway.runs.segment import check_free, run_segment
from slipway.train import checkpoint_store
from slipway.train.checkpoint_store import Newest
from slipway.train.environment import Place, started_rank
from slipway.train.ranks import run_local
from slipway.train.runtime import load_torch
from slipway.train.stopping import check_slice, end_time, listen, measured_pace, started_at


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
    leads = place is None or place.rank == 0
    earlier = check_free(config.run.dir) if leads else 0
    continued = _find_checkpoint(config, place)
    step = checkpoint_store.step_of(continued.path) if continued.path else 0
    if step >= config.last_step:
        print(f"{config.run.dir} is at step {step} of {config.training.steps}: nothing left to do")
        return EXIT_DONE
    end = end_time(config, os.environ)
    check_slice(end, measured_pace(config.run.dir / "metrics.jsonl"))
    load_torch(config, ranks_here=config.resources.devices_per_node)
    part(config.model.family, "data").make_ready(config, prepare=place is None)

    def train_here() -> int:
        if leads:
            _write_plan(plan)

        from slipway.train.loop import train

        if place is not None:
            listen()
            return train(plan, place, end, continued)
        logs = config.run.dir / "logs"
        return run_local(plan.world_size, logs, lambda place: train(plan, place, end, continued))

    return run_segment(plan, earlier, step + 1, started_at(), train_here) if leads else train_here()


def _find_checkpoint(config: RunConfig, place: Place | None) -> Newest:
    """The newest good checkpoint, and what is skipped for it. Raises UserError where it does not fit, or none is good.

    Under a launcher rank 0 hashes the files and decides; the others look at names and sizes, to report what a
    user has to mend, and hash only what would tell them that the run is done.
    """
    decides = place is None or place.rank == 0
    found = checkpoint_store.newest_good(config.run.dir, content=decides)
    if not decides and found.path and checkpoint_store.step_of(found.path) >= config.last_step:
        found = checkpoint_store.newest_good(config.run.dir)
    skipped = "; ".join(f"{path.name}: {reason}" for path, reason in found.skipped)
    if found.path is None and skipped:
        raise UserError(
            f"run.dir: every checkpoint in {checkpoint_store.folder(config.run.dir)} is damaged and none was used "
            f"({skipped}); put a good one back, or remove them to start from step 0, or choose another run.dir"
        )
    if found.path:
        checkpoint_store.check_fits(checkpoint_store.read_info(found.path), config, found.path)
    if decides:
        for path, reason in found.skipped:
            print(f"skipping checkpoint {path}: {reason}", flush=True)
    return found


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
