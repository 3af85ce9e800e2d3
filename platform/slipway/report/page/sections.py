"""The parts of a page that are no charts: figures, segments and their cost, the receipt, what differs."""

from collections.abc import Mapping, Sequence

from slipway.report import costs, receipt
from slipway.report.page.markup import Html, element, join, table
from slipway.report.run import Recorded
from slipway.report.table import rows
from slipway.runs.overview import reason_text
from slipway.words import clock, duration, figure, size

SAME_TIME = 0.001
"""Shares of the time below this are no bar."""


def figures(runs: Sequence[Recorded], names: Sequence[str]) -> Html:
    """What the runs amount to: tiles for one, a table with a column for each of several."""
    every = [dict(_figures(run)) for run in runs]
    labels = list(dict.fromkeys(label for one in every for label in one))
    if len(runs) == 1:
        tiles = [element("div", element("dt", label), element("dd", every[0][label])) for label in labels]
        return element("dl", *tiles, class_="facts")
    body = [[label, *(one.get(label, "–") for one in every)] for label in labels]
    return table(["", *(_coloured(name, at) for at, name in enumerate(names))], body)


def _coloured(name: str, at: int) -> Html:
    return join([element("i", class_=f"key k{at % 8 + 1}"), name])


def _figures(run: Recorded) -> list[tuple[str, str]]:
    overview = run.overview
    state = overview.state + (f" on {overview.holder.host}" if overview.holder else "")
    why = f": {overview.why}" if overview.why else ""
    found = [("state", state + why)]
    if overview.segments:
        found.append(("device-hours", figure(overview.device_hours)))
    return [*found, *rows(run.summary, run.units, run.plan)]


def segments(run: Recorded) -> Html:
    """The segments on the line of time, what each did, why it ended, and where all their time went."""
    found = costs.spells(run.overview.segments, run.metrics)
    if not found:
        return element(
            "p", "The run has no ledger of segments, so nothing is known of interruptions.", class_="muted"
        )
    return join([_line_of_time(found), _table_of_segments(found), _where_time_went(found, run)])


def _line_of_time(found: Sequence[costs.Spell]) -> Html:
    ends = [(one.segment.started, one.segment.ended or one.segment.updated) for one in found]
    first, last = ends[0][0], max(end for _, end in ends)
    whole = max(last - first, 1e-9)
    bars = [
        element(
            "i",
            class_="k1",
            title=f"segment {one.segment.number}: {duration(end - start)}",
            style=f"left:{100 * (start - first) / whole:.3f}%;width:{100 * (end - start) / whole:.3f}%",
        )
        for one, (start, end) in zip(found, ends, strict=True)
    ]
    line = element("div", *bars, class_="line-of-time")
    return join(
        [line, element("div", element("span", clock(first)), element("span", clock(last)), class_="ends")]
    )


def _table_of_segments(found: Sequence[costs.Spell]) -> Html:
    head = (
        "",
        "began",
        "ran for",
        "steps",
        "devices",
        "host",
        "ended",
        "pause before",
        "start",
        "steps done again",
    )
    body = []
    for one in found:
        segment = one.segment
        end = segment.updated if segment.ended is None else segment.ended
        steps = "none" if segment.last_step is None else f"{segment.first_step:,}–{segment.last_step:,}"
        body.append(
            (
                segment.number,
                clock(segment.started),
                duration(max(0.0, end - segment.started)),
                steps,
                f"{segment.facts.world_size:,} ({segment.facts.layout_text})",
                segment.host + (f" +{segment.facts.nodes - 1}" if segment.facts.nodes > 1 else ""),
                reason_text(segment),
                "–" if one.pause is None else duration(one.pause),
                "–" if one.start is None else duration(one.start),
                f"{one.again:,}" if one.again else "none",
            )
        )
    return table(head, body, numbers=(0, 2, 3, 7, 8, 9), kind="tight")


def _where_time_went(found: Sequence[costs.Spell], run: Recorded) -> Html:
    sums = costs.add_up(found, run.metrics)
    parts = (
        ("steps that count", sums.steps, 1),
        ("starting", sums.starts, 5),
        ("steps done again", sums.again, 2),
        ("standing still for checkpoints", sums.checkpoints, 4),
        ("validation, loading, ending: not told apart", sums.rest, 8),
    )
    if not sums.total:
        return Html()
    bars = [
        element("i", class_=f"k{colour}", style=f"width:{100 * seconds / sums.total:.3f}%", title=name)
        for name, seconds, colour in parts
        if seconds / sums.total > SAME_TIME
    ]
    body = [
        (
            join([element("i", class_=f"key k{colour}"), name]),
            ("≈ " if name == "steps done again" and seconds else "") + duration(seconds),
            f"{seconds / sums.total:.1%}",
        )
        for name, seconds, colour in parts
    ]
    again = f" {sums.steps_again:,} steps were done again; their time is their number times the median step."
    words = (
        f"The segments ran for {duration(sums.total)}; {sums.steps / sums.total:.1%} of it went into steps that count. "
        f"Between segments nothing ran for {duration(sums.pauses)}."
        + (again if sums.steps_again else " No step was done again.")
    )
    return join(
        [
            element("h3", "Where the time went"),
            element("div", *bars, class_="time"),
            table(("", "time", "share"), body, numbers=(1, 2)),
            element("p", words),
        ]
    )


def receipt_of(run: Recorded) -> Html:
    """What the plan had predicted for a step, what was measured, and in words what the difference is made of."""
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
    """The receipt in words."""
    if found.measured is None:
        return ["No step's time was recorded, so there is nothing to hold against a plan."]
    if found.predicted is None:
        return [
            f"A step took {duration(found.measured)} (median). No plan predicted it: the run's plan is missing, or has "
            "no time, as the profile of its cluster has no peak."
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
            ""
            if found.waited is None
            else f" A step waited {duration(found.waited)} for samples in the mean."
        )
        return [
            "No step of this run was profiled, so its parts were not measured one by one; with logging.profile_step=N "
            f"the trainer profiles a few steps.{waiting}"
        ]
    profile = found.profile
    ratio = f", {profile.total / found.measured:.2f} times the usual one" if found.measured else ""
    return [
        f"Measured by a profile of {profile.steps} steps from step {profile.step:,} on, the mean over all ranks. A "
        f"step under the profiler took {duration(profile.total)}{ratio}; what the profiler took itself is left out of "
        "the host's part, and of all parts where that is too small. An exchange counts while nothing is computed "
        "beside it, with the waiting for slower ranks in it. Parts on one line were not told apart."
    ]


def _reached(run: Recorded) -> Html:
    """Memory and rates: planned beside measured."""
    plan, summary = run.plan, run.summary
    if plan is None:
        return Html()
    body = []
    if summary.memory_gib:
        cpu = plan.config.cluster.device.kind == "cpu"
        what = "of the process, with Python, torch and its libraries" if cpu else "of the fullest device"
        measured = summary.memory_gib * 2**30
        body.append(
            (
                "memory",
                size(plan.memory.largest),
                size(measured),
                f"{measured / plan.memory.largest:.2f} ×",
                what,
            )
        )
    if plan.time.seconds_per_step and summary.step_seconds:
        rate = plan.config.training.global_batch_size * plan.units_per_sample / plan.time.seconds_per_step
        if summary.units_per_second:
            ratio = f"{summary.units_per_second / rate:.2f} ×"
            body.append(
                (
                    f"{run.units.name} per second",
                    figure(rate),
                    figure(summary.units_per_second),
                    ratio,
                    "median",
                )
            )
    head = ("besides", "planned", "measured", "ratio", "")
    return table(head, body, numbers=(1, 2, 3)) if body else Html()


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


def differences(runs: Sequence[Recorded], names: Sequence[str]) -> Html:
    """What the runs' plans and versions do not have in common."""
    every = [_settings(run) for run in runs]
    keys = sorted({key for one in every for key in one})
    body = [
        [element("code", key), *(one.get(key, "–") for one in every)]
        for key in keys
        if len({one.get(key) for one in every}) > 1
    ]
    if not body:
        return element("p", "Nothing that is recorded differs between them.", class_="muted")
    return table(["", *(_coloured(name, at) for at, name in enumerate(names))], body)


def settings(run: Recorded) -> Html:
    """All of a run's settings, folded away."""
    every = _settings(run)
    if not every:
        return Html()
    body = [(element("code", key), value) for key, value in sorted(every.items())]
    return element("details", element("summary", "All settings"), table((), body))


def _settings(run: Recorded) -> dict[str, str]:
    found: dict[str, str] = {}
    if run.plan:
        plain = run.plan.model_dump(mode="json")
        config = {name: part for name, part in plain["config"].items() if name not in ("run", "launch")}
        config["cluster"] = {
            name: part
            for name, part in config["cluster"].items()
            if name not in ("notes", "sources", "warnings")
        }
        found |= _flat(config, "")
        found |= _flat(
            {name: plain[name] for name in ("kernels", "switches", "data_parallel_size", "world_size")}, ""
        )
    if run.overview.segments:
        newest = run.overview.segments[-1]
        found |= _flat({"versions": newest.versions, "host": newest.host}, "")
    return found


def _flat(value: Mapping[str, object], at: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            found |= _flat(inner, f"{at}{key}.")
        elif inner not in (None, [], {}):
            found[f"{at}{key}"] = str(inner)
    return found
