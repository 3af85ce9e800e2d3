"""The load of every part over the steps as an embedded picture: a row for each part, a column for each line."""

from base64 import b64encode
from collections.abc import Sequence
from math import log2
from typing import TYPE_CHECKING

from slipway.metrics import png
from slipway.report.load import Loads, events, loads
from slipway.report.page.markup import Html, element, join
from slipway.report.run import Recorded

if TYPE_CHECKING:
    import numpy as np

ROWS, COLUMNS = 960, 240
"""Size of a picture at most; with more parts, neighbours share a row."""
GAP, HIGH = 1, 24
"""Rows between two places; rows of a place, at least: a part may have several."""
LABELS = 24
"""Places that are named beside the picture, at most."""
WIDEST = 2.0
"""Powers of two away from an even share at which the colour is strongest."""

NOTHING, LITTLE, EVEN, MUCH = (13, 30, 74), (43, 102, 178), (243, 243, 240), (196, 62, 20)
"""Red, green and blue of no load; of a quarter of an even share, of an even one, of four and more."""
BETWEEN = (120, 126, 132)
KEY = ((0.0, "none"), (0.25, "¼"), (0.5, "½"), (1.0, "an even share"), (2.0, "2 ×"), (4.0, "4 × and more"))


def load(run: Recorded) -> Html | None:
    """Return the picture, its key, and the guard's events; None if no load was recorded."""
    told = loads(run.metrics)
    if told is None:
        return None
    said = [
        element("li", f"Step {record['step']:,}: {record.get('reason')}") for record in events(run.metrics)
    ]
    return join(
        [
            element("div", *(_key(value, name) for value, name in KEY), class_="legend"),
            _figure(told),
            element("ul", *said) if said else Html(),
        ]
    )


def colour(value: float) -> tuple[int, int, int]:
    """Return red, green and blue of a load, by its logarithm; 1 is an even share."""
    if value <= 0:
        return NOTHING
    way = max(-1.0, min(1.0, log2(value) / WIDEST))
    end = MUCH if way > 0 else LITTLE
    red, green, blue = (round(a + abs(way) * (b - a)) for a, b in zip(EVEN, end, strict=True))
    return red, green, blue


def pixels(told: Loads) -> "np.ndarray":
    """Return the picture as uint8 [height, width, 3]: place below place, part below part, steps from left to right.

    If parts share a row, the load that is furthest from even is shown; if steps share a column, the last.
    """
    import numpy as np

    steps, parts = len(told.steps), len(told.values[0][0])
    shown = [told.values[at] for at in _last_of_stretches(steps, COLUMNS)]
    each = max(1, min(parts, ROWS // len(told.places)))
    stretches = [(at * parts // each, (at + 1) * parts // each) for at in range(each)]
    high = max(1, HIGH // each)
    strips = []
    for place in range(len(told.places)):
        rows = [
            [colour(max(values[place][first:end], key=_distance)) for values in shown]
            for first, end in stretches
        ]
        strips.append(np.repeat(np.array(rows, np.uint8), high, axis=0))
        strips.append(np.full((GAP, len(shown), 3), BETWEEN, np.uint8))
    return np.concatenate(strips[:-1])


def _distance(value: float) -> float:
    return abs(log2(value)) if value > 0 else float("inf")


def _last_of_stretches(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return [(at + 1) * count // most - 1 for at in range(most)]


def _key(value: float, name: str) -> Html:
    red, green, blue = colour(value)
    return element("span", element("i", class_="swatch", style=f"background:rgb({red} {green} {blue})"), name)


def _figure(told: Loads) -> Html:
    picture = pixels(told)
    caption = f"Load of the {told.parts}, {told.places[0]} to {told.places[-1]}"
    content = b64encode(png.encode(picture, caption)).decode()
    rows, height = len(picture), max(170, min(2 * len(picture), 760))
    inside = (rows + GAP) / len(told.places)
    together = len(told.values[0][0]) > max(1, ROWS // len(told.places))
    labels = [
        element("span", told.places[at], class_="ty", style=f"top:{100 * (at + 0.5) * inside / rows:.2f}%")
        for at in _spaced(len(told.places), LABELS)
    ]
    shown = _last_of_stretches(len(told.steps), COLUMNS)
    ticks = [
        element(
            "span",
            f"{told.steps[shown[at]]:,}",
            class_="tx",
            style=f"left:{100 * (at + 0.5) / len(shown):.2f}%",
        )
        for at in _spaced(len(shown), 5)
    ]
    note = f"a row for each of the {told.parts}"
    note += ", neighbours together: the one that is the furthest from even" if together else ""
    return element(
        "figure",
        element("figcaption", f"Load of the {told.parts} ", element("small", note)),
        element(
            "div",
            element("img", src=f"data:image/png;base64,{content}", alt=caption),
            *labels,
            *ticks,
            class_="plot heat",
            style=f"height:{height}px",
        ),
        element("div", "step", class_="xl"),
        class_="chart wide-chart",
    )


def _spaced(count: int, most: int) -> Sequence[int]:
    """Return at most `most` of the numbers below `count`, evenly spaced, the first and the last among them."""
    if count <= most:
        return range(count)
    return [round(at * (count - 1) / (most - 1)) for at in range(most)]
