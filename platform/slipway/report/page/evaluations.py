"""What `slipway evaluate` has found of a run, step by step."""

from itertools import groupby

from slipway.metrics.evaluations import found
from slipway.report.page.markup import Html, element, join, table
from slipway.report.run import Recorded


def evaluations(run: Recorded) -> Html | None:
    """A table for each evaluation, a line for each step and thing measured; None where there are none."""
    results, problems = found(run.folder)
    parts: list[Html] = []
    for _, group in groupby(results, key=lambda one: one.name):
        of_steps = list(group)
        heads = list(dict.fromkeys(name for one in of_steps for name in one.rows()[0][1:]))
        body = []
        for one in of_steps:
            head, *rows = one.rows()
            for row in rows:
                cells = dict(zip(head, row, strict=True))
                body.append([f"{one.step:,}", row[0], *(cells.get(name, "") for name in heads)])
        numbers = [0, *range(2, 2 + len(heads))]
        parts.append(element("h3", of_steps[-1].title))
        parts.append(table(["step", "", *heads], body, numbers))
        parts.append(element("p", of_steps[-1].how, class_="muted"))
    parts += [element("p", problem, class_="muted") for problem in problems]
    return join(parts) if parts else None
