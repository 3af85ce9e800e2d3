"""Wall time against what must fit into it: a segment without time to train is refused, a doubtful one remarked on.

Pure.
"""

import math
from collections.abc import Sequence

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.host_lists import expand
from slipway.launch.placement import Placement
from slipway.plan import Plan
from slipway.words import duration

EARLY_SECONDS = 60  # Slurm may send the signal so much earlier (sbatch(1), --signal)
START_SECONDS = 60  # the least that ranks take to start
PREFLIGHT_SECONDS = 180  # the longest that `slipway doctor` waits for the nodes


def check(plans: Sequence[Plan], placement: Placement) -> None:
    """Raise UserError, with the arithmetic, if a segment is too short for one step, or if too few nodes are left."""
    for plan in plans:
        _check_nodes(plan.config)
        _check_segment(plan, placement)


def remarks(plan: Plan, placement: Placement) -> list[str]:
    """Return remarks on settings that may be meant, but often are not."""
    config, minutes = plan.config, placement.minutes
    if minutes is None:
        return []
    segment, found = 60 * minutes - _overhead(config, placement), []
    hang, step = config.watch.hang_timeout_minutes, plan.time.seconds_per_step
    if hang is not None and 60 * hang >= segment:
        found.append(
            f"a rank that hangs is not named before the wall time ends: watch.hang_timeout_minutes {hang:g}, "
            f"of a segment's {minutes} min {duration(segment)} for training"
        )
    if step and config.checkpoint.interval * step > segment:
        found.append(
            f"only the end of a segment saves: checkpoint.interval {config.checkpoint.interval} steps x "
            f"{duration(step)} are {duration(config.checkpoint.interval * step)}, more than {duration(segment)}; "
            "a crash loses all of it"
        )
    if step and (needed := math.ceil(config.training.steps * step / max(segment, 1))) > config.launch.chain:
        found.append(
            f"launch.chain {config.launch.chain} may end before the run does: {needed} segments are expected"
        )
    return found


def _check_segment(plan: Plan, placement: Placement) -> None:
    config, minutes, slurm = plan.config, placement.minutes, plan.config.cluster.slurm
    if minutes is None or slurm is None:
        return
    what = "launch.time_limit" if config.launch.time_limit else f"queue {placement.queue_name}"
    parts = f"{slurm.signal_seconds} s (cluster.slurm.signal_seconds) + {EARLY_SECONDS} s (Slurm may signal so early)"
    parts += f" + {START_SECONDS} s to start"
    if config.launch.preflight:
        parts += f" + {PREFLIGHT_SECONDS} s (launch.preflight)"
    needed, step = _overhead(config, placement), _shortest_step(plan)
    if step > START_SECONDS:  # a shorter step is covered by the minute to start
        parts, needed = f"{parts} + {step:.0f} s for a step at the peak", needed + math.ceil(step)
    if 60 * minutes < needed:
        raise UserError(
            what,
            f"= {60 * minutes} s leaves no time to train, because ranks stop before the end of the job: "
            f"{parts} = {needed} s",
            value=f"{minutes} min",
            use=f"at least {math.ceil(needed / 60)} min, or a smaller cluster.slurm.signal_seconds",
        )


def _check_nodes(config: RunConfig) -> None:
    nodes, wanted = config.cluster.nodes, config.resources.nodes
    excluded = len(set(expand(",".join(config.launch.exclude))))
    if nodes is not None and excluded and nodes - excluded < wanted:
        raise UserError(
            "launch.exclude",
            f"{nodes} nodes of {config.cluster.name} - {excluded} = {nodes - excluded}, fewer than the {wanted} "
            "of resources.nodes",
            do="exclude fewer nodes, or reduce resources.nodes",
        )


def _overhead(config: RunConfig, placement: Placement) -> int:
    """Return the seconds of a segment in which nothing is trained."""
    slurm = config.cluster.slurm
    lead = slurm.signal_seconds + EARLY_SECONDS if slurm and placement.scheduler == "slurm" else 0
    return lead + START_SECONDS + (PREFLIGHT_SECONDS if config.launch.preflight else 0)


def _shortest_step(plan: Plan) -> float:
    """Return the seconds of a step on devices that reach their peak; 0 if not known."""
    return (plan.time.seconds_per_step or 0.0) * (plan.time.mfu or 0.0)
