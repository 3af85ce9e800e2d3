"""The receipt on a page: planned and measured parts of a step, and in words what the difference is made of."""

from slipway.report import receipt
from slipway.report.page.markup import Html, element, join, table
from slipway.report.run import Recorded
from slipway.words import duration, figure, size


def receipt_of(run: Recorded) -> Html:
    """Return the receipt as HTML: what was planned for a step, what was measured, and what explains the difference."""
    found = receipt.make(run.plan, run.metrics)
    parts: list[Html] = [element("p", text, class_="said") for text in sentences(found)]
    largest = max(
        (value for one in found.lines for value in (one.predicted, one.measured) if value), default=0.0
    )
    body = [
        [
            one.name,
            _seconds(one.predicted),
            _seconds(one.measured),
            _difference(one.predicted, one.measured, found.predicted),
            _bars(one.predicted, one.measured, largest),
        ]
        for one in found.lines
    ]
    whole = max(found.predicted or 0.0, found.measured or 0.0)
    body.append(
        [
            element("b", "the whole step"),
            _seconds(found.predicted),
            _seconds(found.measured),
            _difference(found.predicted, found.measured, found.predicted),
            _bars(found.predicted, found.measured, whole),
        ]
    )
    head = ("part of a step", "planned", "measured", "difference", "")
    parts.append(table(head, body, numbers=(1, 2, 3)))
    parts.append(
        element(
            "p",
            element("i", class_="key k8"), "planned  ", element("i", class_="key k1"), "measured. ",
            "Differences are shares of the planned step.",
            class_="muted",
        )
    )  # fmt: skip
    parts += [element("p", text, class_="muted") for text in _how(found)]
    return join([*parts, _reached(run)])


def sentences(found: receipt.Receipt) -> list[str]:
    """Return the receipt in words: the step as measured and planned, then what explains the difference."""
    if found.measured is None:
        return ["No step's time was recorded, so there is nothing to hold against a plan."]
    if found.predicted is None:
        return [
            f"A step took {duration(found.measured)} (median). No plan predicted it: the run's plan is missing, or has "
            "no time, as nothing is known of its device (`slipway bench device` measures one)."
        ]
    ratio = found.measured / found.predicted
    much = (
        f"{abs(ratio - 1):.0%} {'more' if ratio >= 1 else 'less'}"
        if abs(ratio - 1) >= 0.005
        else "as planned"
    )
    text = f"A step took {duration(found.measured)} (median) where the plan had {duration(found.predicted)}: {much}."
    shares = "; ".join(f"{share:+.0%} {what}" for what, share in receipt.attribution(found))
    return [text, f"Of the planned step: {shares}."]


def _how(found: receipt.Receipt) -> list[str]:
    if found.profile is None:
        waiting = (
            "" if found.waited is None else f" Of it, {duration(found.waited)} went into waiting for samples."
        )
        return [
            "No step of this run was profiled, so its parts were not measured one by one; with logging.profile_step=N "
            f"the trainer profiles a few steps.{waiting}"
        ]
    profile = found.profile
    ratio = f", {profile.total / found.measured:.2f} times the usual one" if found.measured else ""
    return [
        f"Measured by a profile of {profile.steps} steps, of which step {profile.under[-1]:,} was the last, the mean "
        f"over all ranks. A step under the profiler took {duration(profile.total)}{ratio}; what the profiler took "
        "itself is left out of the host's part, and of all parts where that is too small. An exchange counts while "
        "nothing is computed beside it, with the waiting for slower ranks in it. Parts on one line were not told apart."
    ]


def _reached(run: Recorded) -> Html:
    """Return memory and rates as HTML, planned beside measured."""
    plan, summary = run.plan, run.summary
    if plan is None:
        return Html()
    body = []
    if summary.memory_gib:
        cpu = plan.config.cluster.device.kind == "cpu"
        what = "measured: the process with Python and its libraries" if cpu else "of the fullest device"
        measured = summary.memory_gib * 2**30
        ratio = "–" if cpu else f"{measured / plan.memory.largest:.2f} ×"
        body.append((_named("memory", what), size(plan.memory.largest), size(measured), ratio))
    if plan.time.seconds_per_step and summary.units_per_second:
        rate = plan.config.training.global_batch_size * plan.units_per_sample / plan.time.seconds_per_step
        ratio = f"{summary.units_per_second / rate:.2f} ×"
        name = _named(f"{run.units.name} per second", "median")
        body.append((name, figure(rate), figure(summary.units_per_second), ratio))
    if plan.time.mfu and summary.mfu:
        name = _named("MFU", "median, each of its own peak")
        body.append(
            (name, f"{plan.time.mfu:.1%}", f"{summary.mfu:.1%}", f"{summary.mfu / plan.time.mfu:.2f} ×")
        )
    source = element("p", f"Planned: {plan.time.assumption}.", class_="muted")
    head = ("also", "planned", "measured", "ratio")
    return join([table(head, body, numbers=(1, 2, 3)) if body else "", source])


def _named(name: str, more: str) -> Html:
    return join([name, element("small", more)])


def _seconds(value: float | None) -> str:
    return "–" if value is None else duration(value)


def _difference(planned: float | None, measured: float | None, whole: float | None) -> Html | str:
    if planned is None or measured is None or not whole:
        return "–"
    share = (measured - planned) / whole
    kind = "worse" if share >= 0.005 else "better" if share <= -0.005 else None
    return element("span", f"{share:+.1%}", class_=kind)


def _bars(planned: float | None, measured: float | None, largest: float) -> Html:
    bars = [
        element("i", class_=f"bar {colour}", style=f"width:{100 * value / largest:.2f}%")
        for value, colour in ((planned, "k8"), (measured, "k1"))
        if value is not None and largest
    ]
    return element("div", *bars, class_="bars")
