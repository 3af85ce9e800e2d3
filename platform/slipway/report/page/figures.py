"""The main figures of runs: tiles for one run, a table for several."""

from collections.abc import Sequence

from slipway.report.page.markup import Html, element, join, table
from slipway.report.run import Recorded
from slipway.report.table import rows
from slipway.words import figure


def figures(runs: Sequence[Recorded], names: Sequence[str]) -> Html:
    """Return the runs' main figures: tiles for one run, a table with a column for each of several."""
    every = [dict(_figures(run)) for run in runs]
    labels = list(dict.fromkeys(label for one in every for label in one))
    if len(runs) == 1:
        tiles = [element("div", element("dt", label), element("dd", every[0][label])) for label in labels]
        return element("dl", *tiles, class_="facts")
    body = [[label, *(one.get(label, "–") for one in every)] for label in labels]
    return table(["", *(coloured(name, at) for at, name in enumerate(names))], body)


def coloured(name: str, at: int) -> Html:
    """Return a run's name with its colour; at: its place among the runs."""
    return join([element("i", class_=f"key k{at % 8 + 1}"), name])


def _figures(run: Recorded) -> list[tuple[str, str]]:
    overview = run.overview
    state = overview.state + (f" on {overview.holder.host}" if overview.holder else "")
    why = f": {overview.why}" if overview.why else ""
    found = [("state", state + why)]
    if overview.segments:
        used = overview.energy
        found.append(("device-hours", figure(overview.device_hours)))
        found.append(("energy", "not known" if used.kwh is None else f"{used.in_words} kWh, {used.how}"))
    return [*found, *rows(run.summary, run.units, run.plan)]
