"""The results of `slipway evaluate` on a page: curves over the steps, and every figure in a table."""

from collections.abc import Sequence

from slipway.metrics.evaluations import found
from slipway.models.evaluation import Result
from slipway.report.evaluations import by_name, curve, measures_of, things_of, words
from slipway.report.page.charts import COLOURS, wide
from slipway.report.page.markup import Html, element, join, table
from slipway.report.page.plot import Chart, Series, draw, legend
from slipway.report.run import Recorded

ROWS = 12
"""Rows of the longest table that is open from the start."""


def evaluations(run: Recorded) -> Html | None:
    """Return a table of each evaluation, and a chart of each measure if there are several steps; None without any."""
    results, problems = found(run.folder)
    parts: list[Html] = []
    for group in by_name(results):
        parts.append(element("h3", group[-1].title))
        parts += _charts(group)
        parts.append(_table(group))
        parts.append(element("p", group[-1].how, class_="muted"))
    parts += [element("p", problem, class_="muted") for problem in problems]
    return join(parts) if parts else None


def _charts(results: Sequence[Result]) -> list[Html]:
    things = things_of(results)
    charts = []
    for measure in measures_of(results):
        series = [
            Series(what, *curve(results, what, measure), at % COLOURS + 1, "dots")
            for at, what in enumerate(things)
        ]
        if max(len(one.xs) for one in series) > 1:
            charts.append(draw(Chart(words(measure), "step", series, log=wide(series), legend=False)))
    if not charts:
        return []
    key = [(what, at % COLOURS + 1, "line") for at, what in enumerate(things)]
    return [*([legend(key)] if len(things) > 1 else []), element("div", *charts, class_="charts")]


def _table(results: Sequence[Result]) -> Html:
    heads, body = measures_of(results), []
    for one in results:
        head, *rows = one.rows()
        for row in rows:
            cells = dict(zip(head, row, strict=True))
            body.append([f"{one.step:,}", row[0], *(cells.get(name, "") for name in heads)])
    made = table(["step", "", *map(words, heads)], body, [0, *range(2, 2 + len(heads))])
    if len(body) <= ROWS:
        return made
    return element("details", element("summary", f"All {len(body)} rows"), made)
