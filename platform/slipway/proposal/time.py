"""The computer time of a run, with its arithmetic: from a measured step if one fits, else from the plan's. Pure."""

import math
from dataclasses import dataclass

from slipway.bench.scaling.table import Measurement, Row
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.launch.placement import place, scheduler_of
from slipway.plan import Plan
from slipway.words import duration, figure


@dataclass(frozen=True)
class ComputerTime:
    """The computer time that is asked for, and how it is derived."""

    step_seconds: float
    basis: str
    """The source of the step's time, in words."""
    measured: bool
    hours: float
    """Hours of one run."""
    device_hours: float
    """Device-hours of all runs, with the reserve."""
    arithmetic: str
    energy_kwh: float | None
    """Energy of the devices, at full load for these hours; None: their power is not known."""


def computer_time(plan: Plan, measurement: Measurement, runs: int, reserve: float) -> ComputerTime:
    """Return the computer time of `runs` runs with a reserve in per cent.

    Raises UserError if neither the plan nor the measurement knows the time of a step.
    """
    row = matching(plan, measurement)
    planned = plan.time.seconds_per_step
    if row is not None:
        seconds, basis = row.step_s, f"measured on {row.devices:,} devices ({row.scaling} scaling, below)"
    elif planned is not None:
        seconds, basis = planned, f"as planned: {plan.time.assumption}"
    else:
        raise UserError(
            "proposal",
            f"a step's time is not known: cluster {plan.config.cluster.name} states no peak, and the measurement has "
            f"none of {plan.config.model.name} on {plan.world_size} devices with batch "
            f"{plan.config.training.global_batch_size}",
            do="measure that size with `slipway bench scaling`, or choose a cluster whose profile has a peak",
        )
    steps, devices = plan.config.training.steps, plan.world_size
    hours = seconds * steps / 3600
    total = hours * devices * runs * (1 + reserve / 100)
    parts = [f"{steps:,} steps × {duration(seconds)} × {devices:,} devices / 3,600 s/h"]
    parts += [f" × {runs} runs"] if runs > 1 else []
    parts += [f" × {1 + reserve / 100:g} ({reserve:g}% reserve)"] if reserve else []
    arithmetic = f"{''.join(parts)} = {figure(total)} device-hours"
    planned_energy, planned_hours = plan.time.energy_kwh, plan.time.device_hours
    energy = planned_energy * total / planned_hours if planned_energy and planned_hours else None
    return ComputerTime(seconds, basis, row is not None, hours, total, arithmetic, energy)


def matching(plan: Plan, measurement: Measurement) -> Row | None:
    """Return the measured row of the same model, machine, devices and batch; None if there is none."""
    if not same_machine(plan, measurement) or not same_model(plan, measurement):
        return None
    batch = plan.config.training.global_batch_size
    fitting = (
        row
        for row in measurement.rows
        if (row.devices, row.global_batch_size) == (plan.world_size, batch)
        and row.nodes == plan.config.resources.nodes
    )
    return next(fitting, None)


def same_machine(plan: Plan, measurement: Measurement) -> bool:
    """Return whether the measurement was made on the plan's cluster."""
    return measurement.summary.cluster == plan.config.cluster.name


def same_model(plan: Plan, measurement: Measurement) -> bool:
    """Return whether the measurement was made with the plan's model and precision."""
    measured, config = measurement.summary, plan.config
    asked = (config.model.name, plan.parameters, config.training.precision)
    return (measured.model, measured.parameters, measured.precision) == asked


def slices(config: RunConfig, hours: float) -> tuple[float, int] | None:
    """Return a job's wall time in hours, and how many jobs one run takes; None: the cluster sets no limit."""
    if scheduler_of(config.cluster) == "slurm":
        launch = config.launch.model_copy(update={"account": config.launch.account or "PROJECT"})
        config = config.model_copy(update={"launch": launch})
    minutes = place(config).minutes
    return None if minutes is None else (minutes / 60, max(1, math.ceil(hours * 60 / minutes)))
