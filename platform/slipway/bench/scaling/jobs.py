"""Repeats as jobs of a cluster: rendered and submitted as by `slipway launch`, with another verb. An array per size."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from slipway import console
from slipway.bench.scaling.points import Repeat
from slipway.launch.checks import check_offline
from slipway.launch.command import offline, render, workdir_of
from slipway.launch.placement import Placement, place
from slipway.launch.schedulers import states
from slipway.launch.submission import submit
from slipway.plan import Plan
from slipway.words import duration


@dataclass(frozen=True)
class Batch:
    """The repeats of one point, which one call of the scheduler's program submits."""

    plans: list[Plan]
    placement: Placement
    workdir: Path
    script: str


def under_way(repeats: Sequence[Repeat]) -> list[Repeat]:
    """Return the repeats whose job waits or runs.

    Asks the scheduler once, and not at all if none has a job.
    """
    jobs = {job: repeat for repeat in repeats for job in states.jobs_of(repeat.folder)}
    found = states.ask(list(jobs), past=False, pods=False) if jobs else {}
    alive = {id(jobs[job]) for job, state in found.items() if state.alive}
    return [repeat for repeat in repeats if id(repeat) in alive]


def batches(repeats: Sequence[Repeat], verb: Sequence[str]) -> list[Batch]:
    """Render the jobs of these repeats and return them.

    Raises UserError, before any submission, if one cannot be rendered.
    """
    found = []
    by_point = sorted(
        repeats, key=lambda one: (one.plan.world_size, one.plan.config.training.global_batch_size)
    )
    for _, of_point in groupby(by_point, key=lambda one: id(one.point)):
        plans = [_offline(one.plan) for one in of_point]
        config = plans[0].config
        placement, workdir = place(config), workdir_of(config)
        check_offline(config, placement.image, placement.scheduler)
        found.append(Batch(plans, placement, workdir, render(plans, placement, workdir, verb)))
    return found


def launch(found: Sequence[Batch], submitted: bool) -> None:
    """Submit what was rendered, or print it.

    Raises UserError before the first submission, Fault if one fails.
    """
    if submitted:
        for batch in found:
            submit.check(batch.plans, batch.placement, batch.workdir)
    for batch in found:
        print(_in_words(batch), file=sys.stderr)
        if submitted:
            print(submit.submit(batch.script, batch.plans, batch.placement), flush=True)
        else:
            console.write(batch.script)


def _in_words(batch: Batch) -> str:
    """Return nodes, devices, repeats and the most that they may take, in words."""
    config, minutes = batch.plans[0].config, batch.placement.minutes
    resources, count = config.resources, len(batch.plans)
    most = ""
    if minutes is not None:
        hours = count * batch.plans[0].world_size * minutes / 60
        most = f", {duration(60 * minutes)} each: {hours:,.3g} device-hours at most"
    return (
        f"{count} x {resources.nodes} nodes x {resources.devices_per_node} {config.cluster.device.name} on "
        f"{config.cluster.name}, batch {config.training.global_batch_size}{most}"
    )


def _offline(plan: Plan) -> Plan:
    return plan.model_copy(update={"config": offline(plan.config)})
