"""`slipway train`: checks everything that needs no torch, then starts the ranks or becomes one."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway import system_errors
from slipway.checkpoint import store as checkpoint_store
from slipway.checkpoint.store import CheckpointInfo, Newest
from slipway.config import budget
from slipway.config.schema import RunConfig
from slipway.data import find_position, kind_of
from slipway.data.keep import keep_tokenizer
from slipway.data.ledger import DataLedger
from slipway.engine.runtime import as_trained, load_torch, switches_of
from slipway.errors import EXIT_DONE, UserError
from slipway.files import reason
from slipway.kernels.choice import in_words
from slipway.metrics import mirrors
from slipway.models import family, held_out
from slipway.plan import Plan, elastic, plan_file, switches
from slipway.plan.change import describe_change
from slipway.plan.facts import read_facts
from slipway.plan.kept import plan_of, said, stay
from slipway.plan.plan import replan
from slipway.ranks import signals
from slipway.ranks.environment import Node, Place, launched, left_over
from slipway.ranks.local import run_local
from slipway.ranks.starting import not_counted
from slipway.run_dir import RunDir
from slipway.runs.segment import check_free, run_segment
from slipway.train.start import Start
from slipway.train.stopping import Pace, check_slice, end_time, measured_pace, note_refusal, started_at


def run(config: RunConfig, options: Any = None) -> int:
    """Train the run that `config` describes and return the exit code. See run_plan for what is raised."""
    place = launched(os.environ)
    if place is not None and config.resources.elastic:
        config = elastic.on_machines(config, *place.machines(config.resources.devices_per_node))
    return run_plan(plan_of(config))


def run_file(path: Path, changed: Sequence[str], options: Any = None) -> int:
    """Train the plan in a plan.json, changed by KEY=JSON words, and return the exit code.

    Jobs train this way: ranks read the plan and plan nothing.
    """
    plan, place = stay(plan_file.read(path, changed)), launched(os.environ)
    resources = plan.config.resources
    if place is not None and resources.elastic:
        machines = place.machines(resources.devices_per_node)
        if machines != (resources.nodes, resources.devices_per_node):
            plan = replan(plan, *machines)
    return run_plan(plan)


def run_plan(plan: Plan) -> int:
    """Train a plan here and return the exit code.

    Raises UserError before anything is written, Stopped if a signal came before that.
    """
    signals.begin()
    config = plan.config
    place = launched(os.environ)
    check_place(plan, place)
    RunDir(config.run.dir).check()
    leads = place is None or place.leads
    if leads and (ignored := left_over(os.environ)):
        print(ignored, flush=True)
    earlier = check_free(config.run.dir) if leads else 0
    if leads:
        _check_name(config)
    continued = _find_checkpoint(config, leads)
    info = checkpoint_store.read_info(continued.path) if continued.path else None
    step = info.step if info else 0
    budget.check_batches(config, step, info.step_samples if info else 0)
    if step >= config.last_step:
        print(f"{config.run.dir} is at step {step} of {config.training.steps}: nothing is left to do")
        return EXIT_DONE
    end = end_time(config, os.environ) if leads else None
    pace = _check_slice(config, end, step) if leads else Pace()
    if leads:
        mirrors.check(config)
        if step == 0:  # later, files that have gone are no reason to stop a run
            held_out.check_there(config)
    chosen = load_torch(config, ranks_here=config.resources.devices_per_node)
    with not_counted():
        kind_of(config).make_ready(config, prepare=_alone(place))
        family(config).check_data(config, kind_of(config).traits(config))
    data = _find_position(config, info, decides=leads)
    start = Start(data, continued.path, info, continued.skipped, pace)
    plan = as_trained(plan, chosen)
    if leads:
        _say_layout(plan, info)
        for line in in_words(chosen):
            print(f"kernels {line}", flush=True)
        for line in switches.in_words(switches_of(plan)):
            print(f"switch {line}", flush=True)

    def train_here() -> int:
        if leads:
            _write_beginning(plan)
            _set_aside(continued)
        with system_errors.begun():
            return train_begun()

    def train_begun() -> int:
        from slipway.train.loop import train

        if isinstance(place, Place):
            signals.note()
            return train(plan, place, end, start)
        logs = RunDir(config.run.dir).logs
        return run_local(plan.world_size, logs, lambda rank: train(plan, rank, end, start), place)

    if not leads:
        return train_here()
    return run_segment(plan, earlier, step + 1, started_at(), train_here, plan.kernels, plan.switches)


def _check_slice(config: RunConfig, end: float | None, step: int) -> Pace:
    """Return the pace of earlier segments. Raises UserError if the time is too short for any progress."""
    metrics = RunDir(config.run.dir).metrics
    pace = measured_pace(metrics)
    try:
        warning = check_slice(end, pace)
    except UserError:
        note_refusal(metrics, step)
        raise
    if warning:
        print(warning, flush=True)
    return pace


def _alone(place: Place | Node | None) -> bool:
    """Return whether all ranks are this process's children."""
    return place is None or (isinstance(place, Node) and place.nodes == 1)


def _find_checkpoint(config: RunConfig, leads: bool) -> Newest:
    """Return the newest good checkpoint, and those that are skipped for it.

    Raises UserError if it does not fit, or if there are checkpoints and none is good. Under a launcher rank 0 (node 0)
    hashes the files and decides; the others look at names and sizes, to report what a user has to fix, and hash only
    what would tell them that the run is done.
    """
    found = checkpoint_store.newest_good(config.run.dir, content=leads)
    if not leads and found.path and checkpoint_store.step_of(found.path) >= config.last_step:
        found = checkpoint_store.newest_good(config.run.dir)
    skipped = "; ".join(f"{path.name}: {why}" for path, why in found.skipped)
    if found.path is None and skipped:
        raise UserError(
            "run.dir",
            f"every checkpoint in {checkpoint_store.folder(config.run.dir)} is damaged and none was used "
            f"({skipped})",
            do="put a good one back, remove them to start from step 0, or choose another run.dir",
        )
    if found.path:
        checkpoint_store.check_fits(checkpoint_store.read_info(found.path), config, found.path)
    if leads:
        for path, why in found.skipped:
            print(f"skipping checkpoint {path}: {why}", flush=True)
    return found


def _check_name(config: RunConfig) -> None:
    """Raise UserError if the directory is another run's: its curve, and its run in wandb, go by that name."""
    begun = read_facts(config.run.dir)
    if begun and begun.name != config.run.name:
        raise UserError(
            "run.name",
            f"is not the run in {config.run.dir}, which is {begun.name}",
            value=config.run.name,
            use=f"{begun.name}, or choose another run.dir",
        )


def _set_aside(continued: Newest) -> None:
    """Rename damaged checkpoints, so that they neither come back nor count; nothing is removed."""
    for path, _ in continued.skipped:
        try:
            print(f"{path} is kept as {checkpoint_store.set_aside(path).name}", flush=True)
        except OSError as error:
            print(f"warning: {path} is damaged and cannot be renamed: {reason(error)}", flush=True)


def _find_position(config: RunConfig, info: CheckpointInfo | None, decides: bool) -> DataLedger:
    """Return the position in the data from which the run continues.

    Raises UserError if the data is not what it was. decides: whether this process verifies it, as in _find_checkpoint.
    """
    data = find_position(config, info.data if info else None, verify=decides)
    if decides and data.change:
        print(f"blend: {data.change} from sample {data.total} on", flush=True)
    return data


def _say_layout(plan: Plan, info: CheckpointInfo | None) -> None:
    """Print the layout and how it came about.

    That is what was chosen, what the budget makes, what was fitted to the devices, and what differs from the
    checkpoint.
    """
    if line := said(plan):
        print(line, flush=True)
    if asked := budget.in_words(plan.config):
        print(f"budget: {asked}", flush=True)
    for note in family(plan.config).notes(plan.config):
        print(f"note: {note}", flush=True)
    for change in plan.changes:
        print(f"elastic: {change}", flush=True)
    if info and not info.imported and (change := describe_change(info.world_size, info.parallelism, plan)):
        print(change, flush=True)


def check_place(plan: Plan, place: Place | Node | None) -> None:
    """Raise UserError if the launcher started other ranks than the plan is for."""
    resources = plan.config.resources
    if isinstance(place, Place) and place.world_size != plan.world_size:
        raise UserError(
            "resources",
            f"nodes {resources.nodes} x devices_per_node {resources.devices_per_node} = {plan.world_size}, but "
            f"the launcher started {place.world_size} ranks",
            do="make them equal, or set resources.elastic=true to fit the layout to the ranks",
        )
    if isinstance(place, Node) and place.nodes != resources.nodes:
        raise UserError(
            "resources.nodes",
            f"differs from the {place.nodes} nodes that the launcher started",
            value=resources.nodes,
            do="make them equal, or set resources.elastic=true to fit the layout to the nodes",
        )
    if place is None and resources.nodes > 1:
        raise UserError(
            "resources.nodes",
            "nodes need a launcher on each (srun, torchrun or a pod), and none was detected",
            value=resources.nodes,
            use="1 without a launcher",
        )


def _write_beginning(plan: Plan) -> None:
    """Write what the run is (its plan), and what its tokens mean (its tokenizer). Raises UserError if it cannot be."""
    folder = plan.config.run.dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plan_file.write(plan, RunDir(folder).plan)
        keep_tokenizer(plan.config)
    except OSError as error:
        raise UserError(
            "run.dir",
            f"cannot be written ({reason(error)})",
            value=folder,
            do="make it writable, then run the same command again",
        ) from None
