"""A run's segments on a time line, what each did and used, why it ended, and how all their time was spent."""

from collections.abc import Sequence

from slipway.report import costs
from slipway.report.page.markup import Html, element, join, table
from slipway.report.run import Recorded
from slipway.runs.energy import JOULES_PER_KWH, of_segment
from slipway.runs.overview import reason_text
from slipway.words import clock, duration, figure, quantity

SAME_TIME = 0.001
"""Shares of the time below this get no bar."""


def segments(run: Recorded) -> Html:
    """Return the segments on a time line, what each did, why it ended, and how all their time was spent."""
    found = costs.spells(run.overview.segments, run.metrics)
    if not found:
        return element(
            "p", "The run has no ledger of segments, so nothing is known of interruptions.", class_="muted"
        )
    return join([_line_of_time(found), _table_of_segments(found), _energy(run), _where_time_went(found, run)])


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
        "device-hours",
        "kWh",
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
                figure(segment.device_hours),
                of_segment(segment).in_words,
                segment.host + (f" +{segment.facts.nodes - 1}" if segment.facts.nodes > 1 else ""),
                reason_text(segment),
                "–" if one.pause is None else duration(one.pause),
                "–" if one.start is None else duration(one.start),
                f"{one.again:,}" if one.again else "none",
            )
        )
    return table(head, body, numbers=(0, 2, 3, 5, 6, 9, 10, 11), kind="tight")


def _energy(run: Recorded) -> Html:
    used = run.overview.energy
    if used.kwh is None:
        words = "Energy is not known: no counter was read, and the profile of the cluster has no power of a device."
        return element("p", words, class_="muted")
    each = ""
    if run.summary.units:
        joules = used.kwh * JOULES_PER_KWH / run.summary.units
        each = f", {quantity(joules, 'J')} for each of the {run.units.name}"
    said = {
        "measured": "Measured from the start of the ranks to each segment's last step",
        "estimate": "An estimate",
        "in part": "At least this; some devices, nodes or segments were not counted",
    }
    return element("p", f"Energy: {used.in_words} kWh{each}. {said[used.how]}: {used.source}.")


def _where_time_went(found: Sequence[costs.Spell], run: Recorded) -> Html:
    sums = costs.add_up(found, run.metrics)
    parts = (
        ("steps that count", sums.steps, 1),
        ("starting", sums.starts, 5),
        ("steps done again", sums.again, 2),
        ("blocked by checkpoints", sums.checkpoints, 4),
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
