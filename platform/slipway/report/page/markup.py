"""HTML whose text is always escaped, so that nothing that a run recorded or a user named becomes markup."""

from collections.abc import Iterable, Sequence
from html import escape

CLOSED = ("img", "input", "meta", "path")
"""Elements without children."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: object, **attributes: object) -> Html:
    """Return `<name ...>children</name>`; everything but Html is escaped.

    Attributes: a trailing underscore is dropped (class_), others become hyphens; None and False are skipped.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.removesuffix("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(str(value))}"')
    start = " ".join(words)
    return Html(f"<{start}/>" if name in CLOSED else f"<{start}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Html:
    """Return children one after the other, escaped unless they are Html."""
    return Html("".join(child if isinstance(child, Html) else escape(str(child)) for child in children))


def table(
    head: Sequence[object], rows: Iterable[Sequence[object]], numbers: Sequence[int] = (), kind: str = ""
) -> Html:
    """Return a table that scrolls by itself if it is wider than the page.

    numbers: columns that are aligned right; kind: tight, if no cell may break.
    """

    def cells(kind: str, row: Sequence[object]) -> Html:
        return element(
            "tr", *(element(kind, cell, class_="n" if at in numbers else None) for at, cell in enumerate(row))
        )

    body = element("tbody", *(cells("td", row) for row in rows))
    heading = [element("thead", cells("th", head))] if head else []
    return element("div", element("table", *heading, body), class_=f"wide {kind}".strip())
