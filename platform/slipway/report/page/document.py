"""The whole page, built from the runs that it reports on."""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

from slipway import __version__
from slipway.report.curve import heading
from slipway.report.page import charts
from slipway.report.page.bill import receipt_of
from slipway.report.page.evaluations import evaluations
from slipway.report.page.figures import figures
from slipway.report.page.load import load
from slipway.report.page.markup import Html, element
from slipway.report.page.pictures import pictures
from slipway.report.page.plot import draw, legend
from slipway.report.page.segments import segments
from slipway.report.page.settings import differences, settings
from slipway.report.page.thin import MOST
from slipway.report.run import Recorded
from slipway.words import clock

HERE = Path(__file__).parent


def page(runs: Sequence[Recorded], now: float) -> str:
    """Return the HTML page of one run, or of several side by side; now: Unix seconds."""
    names = titles(runs)
    script, style = ((HERE / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
        f"script-src 'sha256-{digest}'"
    )
    title = names[0] if len(runs) == 1 else f"{len(runs)} runs"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title} – Slipway"),
        element("style", Html(style)),
    )
    body = element("body", element("main", *_content(runs, names, now)), element("script", Html(script)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def titles(runs: Sequence[Recorded]) -> list[str]:
    """Return the runs' names; a name that several runs share is followed by the folder."""
    names = [run.name for run in runs]
    return [f"{run.name} ({run.folder})" if names.count(run.name) > 1 else run.name for run in runs]


def _content(runs: Sequence[Recorded], names: Sequence[str], now: float) -> list[Html]:
    alone = len(runs) == 1
    parts = [element("h1", names[0] if alone else ", ".join(names))]
    if alone and runs[0].plan:
        parts.append(
            element("p", runs[0].plan.config.model.name, " · ", heading(runs[0].plan), class_="muted")
        )
    parts.append(
        element("p", f"As of {clock(now)}, from {', '.join(str(r.folder) for r in runs)}", class_="muted")
    )
    parts += [figures(runs, names), *_notes(runs)]
    parts += [element("h2", "Loss"), _tabs(charts.losses(runs, names))]
    parts += [_validation_note(run, name, alone) for run, name in zip(runs, names, strict=True)]
    parts += [element("h2", "Step by step"), _key(runs, names)]
    parts.append(element("div", *map(draw, charts.panels(runs, names)), class_="charts"))
    for title, section in (
        ("Load", load),
        ("Pictures", lambda run: pictures(run, alone)),
        ("Evaluations", evaluations),
    ):
        parts += _where_there_are(title, section, runs, names)
    if not alone:
        parts += [element("h2", "What differs"), differences(runs, names)]
    for title, section in (
        ("Receipt: planned and measured", receipt_of),
        ("Segments and interruptions", segments),
        ("Settings", settings),
    ):
        if not alone and section is settings:
            continue
        parts.append(element("h2", title))
        for run, name in zip(runs, names, strict=True):
            parts += [] if alone else [element("h3", name)]
            parts.append(section(run))
    parts.append(element("p", f"Written by slipway report {__version__}.", class_="muted"))
    return parts


def _where_there_are(
    title: str, section: Callable[[Recorded], Html | None], runs: Sequence[Recorded], names: Sequence[str]
) -> list[Html]:
    """Return a section with the runs that have something to show in it; empty if none has."""
    found = [
        (name, part) for run, name in zip(runs, names, strict=True) if (part := section(run)) is not None
    ]
    parts = [element("h2", title)] if found else []
    for name, part in found:
        parts += [part] if len(runs) == 1 else [element("h3", name), part]
    return parts


def _notes(runs: Sequence[Recorded]) -> list[Html]:
    notes = [note for run in runs for note in run.notes]
    if any(run.overview.state == "running" for run in runs):
        notes.append("A run that is still going is shown as far as it is.")
    if charts.longest(runs) > MOST:
        notes.append(
            f"Curves of more than {MOST} points are thinned: of each stretch the first, the lowest, the highest and "
            "the last value are drawn. metrics.jsonl has them all."
        )
    if len(runs) > charts.COLOURS:
        notes.append(f"After {charts.COLOURS} runs the colours repeat.")
    return [element("ul", *(element("li", note) for note in notes), class_="muted")] if notes else []


def _validation_note(run: Recorded, name: str, alone: bool) -> Html:
    if run.metrics.validation:
        return Html()
    return element("p", "" if alone else f"{name}: ", "No validation was recorded.", class_="muted")


def _key(runs: Sequence[Recorded], names: Sequence[str]) -> Html:
    """Return the legend of the small charts' lines."""
    window = charts.mean_window(runs[0])
    if len(runs) > 1:
        return legend([(name, at % charts.COLOURS + 1, "line") for at, name in enumerate(names)])
    if window == 1:
        return Html()
    return legend([("each step", 1, "raw"), (f"mean of {window} steps", 1, "line")])


def _tabs(found: Sequence[tuple[str, charts.Chart]]) -> Html:
    """Return the charts as tabs, one shown at a time, chosen by its name; works without the script."""
    parts: list[Html] = []
    for at, (label, _) in enumerate(found):
        parts.append(element("input", type="radio", name="x", id=f"x{at}", checked=at == 0))
        parts.append(element("label", label, for_=f"x{at}"))
    parts += [element("div", draw(chart), class_="panel") for _, chart in found]
    return element("div", *parts, class_="tabs")
