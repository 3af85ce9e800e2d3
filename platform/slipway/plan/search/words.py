"""Describes a layout in words and numbers: as a line, as rows of a table, as JSON."""

from typing import Any

from slipway import words
from slipway.plan.facts import sizes_of
from slipway.plan.search.candidate import SHARDINGS
from slipway.plan.search.search import Layout
from slipway.words import size

SHARDED = {
    "none": "nothing sharded",
    "zero1": "optimizer sharded (ZeRO-1)",
    "zero2": "gradients sharded (ZeRO-2)",
    "zero3": "parameters sharded (ZeRO-3)",
}
LEAST_SHARE = 0.02
"""Least share of a step with which a part can be its limit."""


def sizes(layout: Layout) -> str:
    """Return the sizes of a layout as text: `TP8 × PP16 × VP2 × DP24`."""
    return words.layout(sizes_of(layout.config.parallelism, layout.replicas))


def line(layout: Layout) -> str:
    """Return layout, microbatch, sharding and recomputation in one line."""
    training = layout.config.training
    parts = [sizes(layout), f"microbatch {training.micro_batch_size}", SHARDED[sharding(layout)]]
    return ", ".join([*parts, f"recompute {training.recompute}"])


def sharding(layout: Layout) -> str:
    """Return the name of what is sharded; the user may have fixed another than the candidate's."""
    sizes = layout.config.parallelism
    given = (sizes.use_distributed_optimizer, sizes.data_parallel_sharding_strategy)
    return next(name for name, values in SHARDINGS.items() if values == given)


def limit(layout: Layout) -> tuple[str, float]:
    """Return the part of a step that costs most besides the products, and its share of the step.

    `products`, with their own share, if no other part matters; `unknown` if no time is known.
    """
    seconds = layout.evaluation.seconds
    if seconds is None:
        return "unknown", 0.0
    others = {name: value for name, value in seconds.items() if name not in ("products", "total")}
    largest = max(others, key=lambda name: others[name])
    share = others[largest] / seconds["total"]
    if share < LEAST_SHARE:
        return "products", seconds["products"] / seconds["total"]
    return largest, share


def device_hours(layout: Layout) -> float | None:
    """Return the device-hours of the whole run; None if no time is known."""
    if layout.seconds is None:
        return None
    return layout.seconds * layout.config.training.steps * layout.world / 3600


def as_json(layout: Layout, device: int | None) -> dict[str, Any]:
    """Return the layout's fields by their own names, with its seconds of a step and bytes on the fullest device."""
    config = layout.config
    training, resources, parallelism = config.training, config.resources, config.parallelism
    name, share = limit(layout)
    return {
        "nodes": resources.nodes,
        "devices_per_node": resources.devices_per_node,
        "devices": layout.world,
        **{
            field.partition(".")[2]: getattr(parallelism, field.partition(".")[2])
            for field in layout.candidate.fields(layout.world)
            if field.startswith("parallelism.")
        },
        "data_parallel_size": layout.replicas,
        "micro_batch_size": training.micro_batch_size,
        "num_microbatches": training.global_batch_size // (training.micro_batch_size * layout.replicas),
        "recompute": training.recompute,
        "step_seconds": layout.seconds,
        "step_seconds_by_part": layout.evaluation.seconds,
        "memory_bytes": layout.memory,
        "memory_bytes_by_part": layout.evaluation.memory,
        "memory_left_bytes": None if device is None else device - layout.memory,
        "limited_by": name,
        "limiting_share": share,
        "device_hours": device_hours(layout),
    }


def of_device(layout: Layout, device: int | None) -> str:
    """Return `61.2 GiB a device`, or `61.2 GiB of a device's 79 GiB`."""
    return (
        f"{size(layout.memory)} a device"
        if device is None
        else f"{size(layout.memory)} of a device's {size(device)}"
    )
