"""The pictures of a run's validations, embedded: the first, the latest, and some in between."""

from base64 import b64encode
from collections.abc import Sequence

from slipway import files
from slipway.metrics.pictures import Shown, found
from slipway.report.page.markup import Html, element, join
from slipway.report.run import Recorded

MOST = 4
"""Pictures of one run at most; of several runs each shows its latest."""


def pictures(run: Recorded, alone: bool) -> Html | None:
    """Return the pictures of a run, newest last; None if there are none.

    alone: it is the page's only run.
    """
    shown = of_run(run)
    chosen = spaced(shown, MOST) if alone else shown[-1:]
    figures = [one for one in map(_figure, chosen) if one is not None]
    if not figures:
        return None
    more = len(shown) - len(figures)
    folder = shown[0].path.parent
    note = element("p", f"{more} more are in {folder}.", class_="muted") if more > 0 else Html()
    return join([element("div", *figures, class_="pictures"), note])


def of_run(run: Recorded) -> list[Shown]:
    """Return the pictures of a run's validations, except those of steps that were undone."""
    steps = {record["step"] for record in run.metrics.validation}
    try:
        return [one for one in found(run.folder) if one.step in steps]
    except files.Unreadable:
        return []


def spaced(shown: Sequence[Shown], most: int) -> list[Shown]:
    """Return at most `most` pictures: the first, the latest, and others evenly spaced between them."""
    if len(shown) <= most:
        return list(shown)
    return [shown[round(at * (len(shown) - 1) / (most - 1))] for at in range(most)]


def _figure(one: Shown) -> Html | None:
    """Return a picture; None if it cannot be read, as it may be written at this moment."""
    try:
        content, caption = one.read()
    except (ValueError, files.Unreadable):
        return None
    image = element("img", src=f"data:image/png;base64,{b64encode(content).decode()}", alt=caption)
    return element("figure", element("figcaption", f"Step {one.step:,} ", element("small", caption)), image)
