"""Writes a document as Markdown. Pure."""

import re
from collections.abc import Sequence

from slipway.proposal.document import Block, Document, Figure, Gap, Heading, Paragraph, Table


def render(document: Document) -> str:
    """Return the Markdown text; pictures are named by their file's name alone, as they lie beside it."""
    parts = [f"# {_plain(document.title)}", *(_block(block) for block in document.blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {_plain(text)}"
        case Paragraph(text):
            return _plain(text)
        case Gap(number, name, what):
            return f"> **[TO FILL IN {number}: {_plain(what)}]** (`{name}`)"
        case Figure(path, caption):
            return f"![{_plain(caption)}]({path.name})\n\n*{_plain(caption)}*"
        case Table(head, rows, numbers):
            width = len(head) or 2
            end = " ---: |" if numbers else " --- |"
            lines = [_row(head or [""] * width), "| --- |" + end * (width - 1)]
            return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(text: str) -> str:
    """Return the text with everything escaped that Markdown would interpret."""
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", text)
