"""Markdown from plain text."""

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~#])")
_DOCUMENT = re.compile(r"docs/([a-z0-9/-]+\.md)")
_CODE = re.compile(r"`([^`]+)`")


def prose(text: str, up: str = "../") -> str:
    """A sentence of the code as Markdown: words in backticks are code, docs/NAME.md is a link, all else is as it is.

    up: leads from the page to the site's top.
    """
    parts = _CODE.split(" ".join(text.split()))
    return "".join(code(part) if number % 2 else _plain(part, up) for number, part in enumerate(parts))


def _plain(text: str, up: str) -> str:
    parts = _DOCUMENT.split(text)
    return "".join(
        f"[{part}]({up}{part})" if number % 2 else _SPECIAL.sub(r"\\\1", part)
        for number, part in enumerate(parts)
    )


def code(text: str) -> str:
    """Text as code, also within a table."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text}{ticks}".replace("|", "\\|")


def block(text: str, language: str = "text") -> str:
    """Lines of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; its cells are Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(title: str, *parts: str) -> str:
    """A page of a title and paragraphs."""
    return "\n\n".join([f"# {title}", *filter(None, parts)]) + "\n"
