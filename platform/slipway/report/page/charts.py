"""The charts of a page and their content. One run: its raw steps and a mean; several: a line for each."""

from collections.abc import Callable, Sequence

from slipway.metrics.file import number
from slipway.report.axes import Axis, time_axis, unit_of_time, units_axis
from slipway.report.metrics import measures, numbers
from slipway.report.page.plot import Chart, Series
from slipway.report.run import Recorded
from slipway.report.summary import smooth

COLOURS = 8

PANELS = (
    # field, title, unit, from zero
    ("learning_rate", "Learning rate", "", True),
    ("grad_norm", "Gradient norm", "before clipping", True),
    ("units_per_second", "Throughput", "{units} per second", True),
    ("mfu", "MFU", "share of the peak", True),
    ("tflops_per_device", "Rate of a device", "TFLOP/s", True),
    ("step_seconds", "Time of a step", "s", True),
    ("data_wait_seconds", "Waiting for samples", "s per step", True),
    ("memory_gib", "Memory of a device", "GiB, largest so far", True),
    ("power_watts", "Power, rank 0", "W", True),
    ("clock_mhz", "Clock, rank 0", "MHz", False),
)
SMOOTH = ("learning_rate", "memory_gib")
"""Fields whose curve needs no mean."""
ALWAYS = ("learning_rate", "grad_norm", "units_per_second", "mfu", "memory_gib")
"""Fields whose chart is always shown, even as not recorded; the others appear only if a run has them."""


def losses(runs: Sequence[Recorded], names: Sequence[str]) -> list[tuple[str, Chart]]:
    """Return (label, chart) of the loss over steps, over the run's unit, and over time."""
    longest = max((axis.values[-1] for run in runs if (axis := time_axis(run))), default=0.0)
    length, unit = unit_of_time(longest)
    of_units = {run.units.name for run in runs}
    counted = of_units.pop() if len(of_units) == 1 else "units"

    def hours(run: Recorded) -> Axis | None:
        axis = time_axis(run)
        return axis and Axis(unit, axis.steps, [value / length for value in axis.values])

    found = [
        ("steps", _loss(runs, names, "step", lambda run: None, missing="")),
        (counted, _loss(runs, names, counted, units_axis, missing=f"{counted} were not recorded")),
        (
            "time",
            _loss(
                runs, names, f"{unit} of running, pauses left out", hours, missing="times were not recorded"
            ),
        ),
    ]
    return found


def _loss(
    runs: Sequence[Recorded],
    names: Sequence[str],
    x_label: str,
    axis_of: Callable[[Recorded], Axis | None],
    missing: str,
) -> Chart:
    series: list[Series] = []
    for at, (run, name) in enumerate(zip(runs, names, strict=True)):
        axis = axis_of(run)
        if axis is None and missing:
            continue
        place: Callable[[int], float] = axis.at if axis else float
        series += _one_loss(run, "" if len(runs) == 1 else name, place, at)
    unit = runs[0].units.loss_unit if len({run.units.loss_unit for run in runs}) == 1 else ""
    alone = runs[0] if len(runs) == 1 else None
    chance = alone.plan.chance_loss if alone and alone.plan else None
    levels = [] if chance is None else [(f"{chance:.2f}: a model that has learnt nothing", chance)]
    begins = [one.first_step for one in alone.overview.segments[1:]] if alone and not missing else []
    return Chart(
        "Loss",
        x_label,
        series,
        unit,
        levels=levels if series else [],
        marks=[(f"a segment begins with step {step}", step) for step in begins],
        missing=missing,
        wide=True,
    )


def _one_loss(run: Recorded, name: str, place: Callable[[int], float], at: int) -> list[Series]:
    """Return the lines of one run; if it has a name, all of them in its own colour."""
    steps, values = run.metrics.column("loss")
    xs = [place(step) for step in steps]
    window = max(1, len(values) // 40) | 1
    colour, other = (at % COLOURS + 1,) * 2 if name else (1, 2)
    found = []
    if window > 1 and not name:
        found.append(Series("training, each step", xs, values, colour, "raw"))
    label = name or (f"training, mean of {window} steps" if window > 1 else "training")
    found.append(Series(label, xs, smooth(values, window), colour))
    steps, values = numbers(run.metrics.validation, "loss")
    label = f"{name}, validation" if name else "validation"
    found.append(Series(label, [place(step) for step in steps], values, other, "dots"))
    return found


def panels(runs: Sequence[Recorded], names: Sequence[str]) -> list[Chart]:
    """Return the small charts over steps: the family's measures, then what the trainer records of each step."""
    units = {run.units.name for run in runs}
    unit = units.pop() if len(units) == 1 else "units"
    found = [_measure(runs, names, name) for name in _measures(runs)]
    for field, title, of, zero in PANELS:
        series = []
        for at, (run, name) in enumerate(zip(runs, names, strict=True)):
            steps, values = run.metrics.column(field)
            series += _noisy("" if len(runs) == 1 else name, steps, values, at, field not in SMOOTH)
        if field in ALWAYS or any(one.xs for one in series):
            text = of.format(units=unit)
            found.append(
                Chart(
                    title,
                    "step",
                    series,
                    text,
                    zero=zero,
                    log=field == "grad_norm" and wide(series),
                    legend=False,
                )
            )
    return found


def mean_window(run: Recorded) -> int:
    """Return the number of steps over which the charts of a run draw a mean; 1: each step alone."""
    return max(1, len(run.metrics.train) // 60) | 1


def _noisy(
    name: str, steps: Sequence[int], values: list[float], at: int, averaged: bool = True
) -> list[Series]:
    window = max(1, len(values) // 60) | 1 if averaged else 1
    colour = at % COLOURS + 1
    if window == 1:
        return [Series(name or "each step", steps, values, colour)]
    mean = Series(name or f"mean of {window} steps", steps, smooth(values, window), colour)
    return [mean] if name else [Series("each step", steps, values, colour, "raw"), mean]


def wide(series: Sequence[Series]) -> bool:
    """Return whether all values are above zero and differ so much that a logarithmic axis shows more."""
    ends = [(min(one.ys), max(one.ys)) for one in series if one.ys]
    return bool(ends) and 0 < 30 * min(low for low, _ in ends) < max(high for _, high in ends)


def _measures(runs: Sequence[Recorded]) -> list[str]:
    lists = [*(run.metrics.train for run in runs), *(run.metrics.validation for run in runs)]
    return list(dict.fromkeys(name for records in lists for name in measures(records)))


def _measure(runs: Sequence[Recorded], names: Sequence[str], measure: str) -> Chart:
    series = []
    for at, (run, name) in enumerate(zip(runs, names, strict=True)):
        prefix, own = ("", 0) if len(runs) == 1 else (f"{name}, ", at)
        steps, values = measures(run.metrics.train).get(measure, ([], []))
        series += _noisy(f"{prefix}training", steps, values, own)
        steps, values = measures(run.metrics.validation).get(measure, ([], []))
        colour = 2 if len(runs) == 1 else at % COLOURS + 1
        series.append(Series(f"{prefix}validation", steps, values, colour, "dots"))
    return Chart(measure, "step", series)


def longest(runs: Sequence[Recorded]) -> int:
    """Return the number of points in the longest curve."""
    return max(len([r for r in run.metrics.train if number(r, "loss") is not None]) for run in runs)
