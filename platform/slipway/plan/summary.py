"""The numbers that `slipway plan --json` prints besides the plan, for people and programs."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slipway.config.schema import Parallelism, RunConfig
from slipway.models import family
from slipway.optimizers import algorithm
from slipway.optimizers.kind import bytes_per_parameter
from slipway.plan.units import plural

if TYPE_CHECKING:
    from slipway.plan.plan import Plan


def summary(plan: "Plan") -> dict[str, Any]:
    """Return the numbers by name; null if nothing is known of the devices, their power, storage or queues.

    Memory and parameters are those of the fullest device. Units are the family's: flop_per_token, tokens_per_second.
    """
    time, config = plan.time, plan.config
    fullest = max(plan.memory.stages, key=lambda stage: stage.total)
    parts = {name: getattr(fullest, name) for name in type(fullest).model_fields if name != "stage"}
    seconds, samples = time.seconds_per_step, config.training.global_batch_size
    speed = None if seconds is None else samples / seconds
    size = checkpoint_bytes(config, plan.parameters)
    storage = config.cluster.storage_gb_per_s
    return {
        "parameters_per_device": max(stage.parameters for stage in plan.stages),
        "memory_per_device_bytes": {**parts, "total": fullest.total},
        f"flop_per_{plan.unit}": plan.flops_per_sample / plan.units_per_sample,
        "step_seconds": None
        if seconds is None
        else {**(time.step.parts if time.step else {}), "total": seconds},
        "samples_per_second": speed,
        f"{plural(plan.unit)}_per_second": None if speed is None else speed * plan.units_per_sample,
        "tflops_per_device": time.tflops_per_device,
        "mfu": time.mfu,
        "days": None if time.hours is None else time.hours / 24,
        "device_hours": time.device_hours,
        "energy_kwh": time.energy_kwh,
        "checkpoint_bytes": size,
        "checkpoint_seconds": None if storage is None else size / (storage * 1e9),
        "jobs": jobs(config, time.hours),
    }


def without(plain: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """Return a plan's plain values without the numbers that follow from them."""
    names = {
        *("parameters_per_device", "memory_per_device_bytes", "step_seconds", "samples_per_second"),
        *("tflops_per_device", "mfu", "days", "device_hours", "energy_kwh", "jobs"),
        *("checkpoint_bytes", "checkpoint_seconds", f"flop_per_{unit}", f"{plural(unit)}_per_second"),
    }
    return {name: value for name, value in plain.items() if name not in names}


def checkpoint_bytes(config: RunConfig, parameters: int) -> int:
    """Return the bytes of one checkpoint.

    Parameters and the optimizer's state are in fp32; bf16 adds the model's own 2 bytes.
    """
    return sum(number * each for number, each in checkpoint_parts(config, parameters))


def checkpoint_parts(config: RunConfig, parameters: int) -> list[tuple[int, int]]:
    """Return the numbers of parameters, each with a checkpoint's bytes for one of them.

    Hidden matrices and other parameters are apart if their bytes differ.
    """
    matrices = sum(layer.matrices.total for layer in family(config).layers(config, Parallelism()))
    weight = 4 + (2 if config.training.precision == "bf16" else 0)
    of_other, of_matrix = (
        weight + bytes_per_parameter(algorithm(config), matrix) for matrix in (False, True)
    )
    if of_other == of_matrix:
        return [(parameters, of_other)]
    return [(matrices, of_matrix), (parameters - matrices, of_other)]


def jobs(config: RunConfig, hours: float | None) -> int | None:
    """Return how many jobs of the longest wall time the run takes, one after the other; None if that is not known.

    The queue is the first one that has room for the run.
    """
    slurm, nodes = config.cluster.slurm, config.resources.nodes
    if slurm is None or hours is None:
        return None
    for queue in slurm.queues.values():
        if queue.min_nodes <= nodes <= (queue.max_nodes or nodes):
            return None if queue.max_hours is None else math.ceil(hours / queue.max_hours)
    return None
