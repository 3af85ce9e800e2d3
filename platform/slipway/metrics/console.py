"""The lines that people read while a run trains."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway.plan.units import Units
from slipway.words import duration

STRETCHES = 8
"""Stretches of missing steps that are named one by one."""


def train_line(values: Mapping[str, Any], steps: int, left: float, units: Units, shown: Sequence[str]) -> str:
    """Return the console line of a training step, from its fields in metrics.jsonl.

    steps: of the whole run. left: seconds to its end. shown: names of the measures to print; metrics.jsonl has all of
    them.
    """
    held = values.get("measures", {})
    measures = "".join(f"  {name} {held[name]:.4g}" for name in shown if held.get(name) is not None)
    return (
        f"step {values['step']:>{len(str(steps))}}/{steps}  loss {values['loss']:.4f}{measures}"
        f"  lr {values['learning_rate']:.2e}  grad norm {values['grad_norm']:.3f}"
        f"  {values['units_per_second']:,.0f} {units.name}/s"
        f"  {values['tflops_per_device']:.3g} TFLOP/s/device (MFU {values['mfu']:.1%})"
        f"  {values['step_seconds']:.2f} s/step  {duration(left)} left"
    )


def missing_line(stretches: Sequence[tuple[int, int]]) -> str:
    """Return the steps in the stretches (first, last) as text: `1 to 3, 5`."""
    which = ", ".join(
        f"{first} to {last}" if first < last else str(first) for first, last in stretches[:STRETCHES]
    )
    more = len(stretches) - STRETCHES
    return which + (f" and {more} more stretches" if more > 0 else "")
