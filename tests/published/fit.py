"""Fit the rates of conf/devices.yaml on the half `fit` of the published rows, one kind of device at a time.

    PYTHONPATH=platform:tests python tests/published/fit.py hopper

Starts from what the file holds and prints what to write into it. What is fitted for each kind stands in FITTED; all
other constants are the sources' own. Deterministic: the downhill simplex of Nelder and Mead (1965).
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from math import exp, log

from published.cases import Case
from published.evaluate import cases
from slipway.plan.step.devices import known
from slipway.plan.step.hardware import Hardware
from slipway.plan.step.stages import Job
from slipway.plan.step.step import step_seconds

FITTED = {
    "ampere": ("product_share", "memory_share", "product_bytes", "unaligned_share"),
    "hopper": ("product_share", "memory_share"),
    "hopper_500w": ("product_share", "memory_share"),
    "blackwell": ("product_share", "attention_share"),
    "volta": ("product_share", "memory_share"),
}
SAME = {"grouped_share": ("product_share", 1.0), "attention_backward_share": ("attention_share", 0.83)}
"""Constants that follow another one while it is fitted."""
FAR = 0.4
"""Errors above count as this one: such rows have reasons of their own."""


def rows_of(rates: str) -> list[tuple[Case, Job, Hardware]]:
    """The rows of one kind of device that may be fitted on; ZeRO-3 of 2021 has reasons of its own."""
    names = {name for name, facts in known().devices.items() if facts.rates == rates}
    return [
        (case, job, hardware)
        for case, job, hardware in cases()
        if hardware.device in names and case.row.half == "fit" and case.row.text("set") != "megatron-zero3"
    ]


def with_rates(hardware: Hardware, values: dict[str, float]) -> Hardware:
    """Hardware with other rates, and those that follow."""
    follow = {name: values[of] * factor for name, (of, factor) in SAME.items() if of in values}
    rates = hardware.rates.model_copy(update={**follow, **values})
    return hardware.model_copy(update={"rates": rates})


def loss(rows: Sequence[tuple[Case, Job, Hardware]], values: dict[str, float]) -> float:
    """Mean |log(predicted / measured)|; each model of each source weighs as the root of its rows."""
    counts = Counter((case.row.source, case.row.text("model")) for case, _, _ in rows)
    total = weights = 0.0
    for case, job, hardware in rows:
        weight = counts[case.row.source, case.row.text("model")] ** -0.5
        error = abs(log(step_seconds(job, with_rates(hardware, values)).total / case.seconds))
        total, weights = total + weight * min(error, FAR), weights + weight
    return total / weights


def simplex(function: Callable[[Sequence[float]], float], start: Sequence[float], steps: int) -> list[float]:
    """Minimize by reflecting, stretching and shrinking a simplex."""
    corners = [list(start)]
    for axis in range(len(start)):
        corners.append([value + 0.12 * (axis == at) for at, value in enumerate(start)])
    found = sorted((function(corner), corner) for corner in corners)
    for _ in range(steps):
        *kept, (worst, point) = found
        middle = [sum(corner[axis] for _, corner in kept) / len(kept) for axis in range(len(start))]

        def along(reach: float, point: list[float] = point, middle: list[float] = middle) -> list[float]:
            return [center + reach * (center - value) for center, value in zip(middle, point, strict=True)]

        value, best = min((function(along(reach)), along(reach)) for reach in (1.0, 2.0, -0.5))
        if value < worst:
            found = sorted([*kept, (value, best)])
            continue
        _, near = found[0]
        shrunk = [[(one + two) / 2 for one, two in zip(near, corner, strict=True)] for _, corner in found]
        found = sorted((function(corner), corner) for corner in shrunk)
    return found[0][1]


def main(rates: str, steps: int = 40) -> None:
    """Fit one kind of device and print its constants."""
    rows, names = rows_of(rates), FITTED[rates]
    start = known().rates[rates]
    before = {name: getattr(start, name) for name in names}

    def function(point: Sequence[float]) -> float:
        values = {name: exp(value) for name, value in zip(names, point, strict=True)}
        outside = sum(max(0.0, value - 1) for value in values.values())
        return loss(rows, values) + outside

    best = simplex(function, [log(value) for value in before.values()], steps)
    after = {name: round(exp(value), 3) for name, value in zip(names, best, strict=True)}
    print(f"{rates}: {len(rows)} rows, loss {loss(rows, before):.4f} -> {loss(rows, after):.4f}")
    for name, value in after.items():
        print(f"    {name}: {value}  # was {before[name]}")


if __name__ == "__main__":
    main(sys.argv[1])
