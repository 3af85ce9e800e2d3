"""Draws one chart: lines in an SVG that stretches with the page, labels in HTML, which stay legible at any width."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from slipway.report.page.markup import Html, element
from slipway.report.page.scale import Scale, spanning, tick_text
from slipway.report.page.thin import thin

SIZE = 1000  # in the SVG's own coordinates, which stretch over the plot


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: int = 1
    """Number of one of the page's colours, from 1."""
    style: str = "line"
    """line; raw: pale, beneath others; dots: a thin dashed line with dots."""


@dataclass(frozen=True)
class Chart:
    """The content of a chart; one without series states that nothing was recorded."""

    title: str
    x_label: str
    series: Sequence[Series]
    y_label: str = ""
    zero: bool = False
    """Whether the axis of values begins at zero."""
    log: bool = False
    levels: Sequence[tuple[str, float]] = ()
    """Named horizontal lines."""
    marks: Sequence[tuple[str, float]] = ()
    """Named vertical lines."""
    missing: str = "not recorded"
    wide: bool = False
    legend: bool = True
    """Whether several series are named above the chart; if not, the page around it has to name them."""


def draw(chart: Chart) -> Html:
    """Return the chart as a figure."""
    unit = [element("small", chart.y_label)] if chart.y_label else []
    caption = element("figcaption", chart.title, " " if unit else "", *unit)
    shown = [one for one in chart.series if one.xs]
    if not shown:
        empty = element("div", chart.missing, class_="plot empty")
        return element("figure", caption, empty, class_=_class(chart))
    thinned = [(one, *thin(one.xs, one.ys)) for one in shown]
    x = spanning([x for _, xs, _ in thinned for x in (xs[0], xs[-1])], margin=0.01)
    values = [y for _, _, ys in thinned for y in ys] + [level for _, level in chart.levels]
    log = chart.log and min(values) > 0
    y = spanning(values, zero=chart.zero and not log, log=log)
    plot = element(
        "div",
        _svg(chart, thinned, x, y),
        *_labels(x, y),
        *_levels(chart, y),
        class_="plot",
        data_view=json.dumps([x.low, x.high, y.low, y.high, int(log)]),
        data_x=chart.x_label,
        data_series=_data(thinned),
    )
    return element(
        "figure",
        caption,
        *_legend(chart, shown),
        plot,
        element("div", chart.x_label, class_="xl"),
        class_=_class(chart),
    )


def _class(chart: Chart) -> str:
    return "chart wide-chart" if chart.wide else "chart"


def _svg(
    chart: Chart, thinned: Sequence[tuple[Series, Sequence[float], Sequence[float]]], x: Scale, y: Scale
) -> Html:
    lines = [_line(0, SIZE, at, at, "grid") for at in (SIZE * (1 - y.at(tick)) for tick in y.ticks())]
    lines += [
        element("g", element("title", name), _line(at, at, 0, SIZE, "mark"))
        for name, value in chart.marks
        if 0 <= (place := x.at(value)) <= 1
        for at in [SIZE * place]
    ]
    lines += [
        _line(0, SIZE, at, at, "level") for at in (SIZE * (1 - y.at(level)) for _, level in chart.levels)
    ]
    for one, xs, ys in thinned:
        points = [f"{SIZE * x.at(a):.1f} {SIZE * (1 - y.at(b)):.1f}" for a, b in zip(xs, ys, strict=True)]
        colour = f"s{one.colour}"
        if len(points) > 1:
            lines.append(_path("M" + "L".join(points), f"{colour} {one.style}"))
        if one.style == "dots" or len(points) == 1:
            lines.append(_path("".join(f"M{point}h0" for point in points), f"{colour} dot"))
    box = f"0 0 {SIZE} {SIZE}"
    return element("svg", *lines, viewBox=box, preserveAspectRatio="none", aria_hidden="true")


def _line(x1: float, x2: float, y1: float, y2: float, kind: str) -> Html:
    return _path(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", kind)


def _path(data: str, kind: str) -> Html:
    return element("path", d=data, class_=kind)


def _labels(x: Scale, y: Scale) -> list[Html]:
    across, up = x.ticks(), y.ticks()
    return [
        *(
            element("span", tick_text(t, up), class_="ty", style=f"top:{100 * (1 - y.at(t)):.2f}%")
            for t in up
        ),
        *(
            element("span", tick_text(t, across), class_="tx", style=f"left:{100 * x.at(t):.2f}%")
            for t in across
        ),
    ]


def _levels(chart: Chart, y: Scale) -> list[Html]:
    return [
        element("span", name, class_="lv", style=f"top:{100 * (1 - y.at(level)):.2f}%")
        for name, level in chart.levels
    ]


def _legend(chart: Chart, shown: Sequence[Series]) -> list[Html]:
    return (
        [legend([(one.name, one.colour, one.style) for one in shown])]
        if chart.legend and len(shown) > 1
        else []
    )


def legend(entries: Sequence[tuple[str, int, str]]) -> Html:
    """Return the key to lines given as (name, colour, style)."""
    keys = [
        element("span", element("i", class_=f"key k{colour} {style}"), name)
        for name, colour, style in entries
    ]
    return element("div", *keys, class_="legend")


def _data(thinned: Sequence[tuple[Series, Sequence[float], Sequence[float]]]) -> str:
    """Return as JSON what the read-out under the pointer shows: [name, colour, x values, y values] of each line."""
    return json.dumps(
        [[one.name, one.colour, [_short(x) for x in xs], [_short(y) for y in ys]] for one, xs, ys in thinned],
        separators=(",", ":"),
    )


def _short(value: float) -> float:
    return int(value) if value == int(value) and abs(value) < 1e15 else float(f"{value:.5g}")
