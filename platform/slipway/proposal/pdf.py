"""Writes a document as PDF (A4), with fpdf2 and the fonts that come with matplotlib."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.files import whole
from slipway.proposal.document import Block, Document, Figure, Gap, Heading, Paragraph, Table

if TYPE_CHECKING:
    from fpdf import FPDF

FONT = "DejaVu"
SIZE = 9.5
MARGIN = 20.0  # mm, as all lengths here
INK, MUTED, LINE, ACCENT = (31, 41, 51), (102, 114, 127), (205, 211, 217), (31, 95, 168)
KEPT_TOGETHER = 16  # rows of a table that is not split between pages
PAIR = (32.0, 68.0)  # per cent of the width, for a name and its value
MARKED = (255, 243, 200)


def write(document: Document, path: Path) -> None:
    """Write the PDF, whole or not at all."""
    pdf = _pages(document.title)
    for block, following in zip(document.blocks, [*document.blocks[1:], None], strict=True):
        if isinstance(block, Heading | Paragraph) and isinstance(following, Table):
            _room(pdf, 14 + _height(pdf, following))
        elif isinstance(block, Heading):
            _room(pdf, 30)
        _block(pdf, block)
    with whole(path) as beside:
        pdf.output(str(beside))


def _pages(title: str) -> "FPDF":
    import matplotlib
    from fpdf import FPDF

    class Pages(FPDF):
        """Pages with the title and their number at the foot."""

        def footer(self) -> None:
            self.set_y(-14)
            self.set_font(FONT, size=7.5)
            self.set_text_color(*MUTED)
            self.cell(self.epw / 2, 5, title)
            self.cell(self.epw / 2, 5, f"{self.page_no()} / {{nb}}", align="R")

    pdf = Pages(format="A4")
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for style, name in (("", "DejaVuSans"), ("B", "DejaVuSans-Bold")):
        pdf.add_font(FONT, style, fonts / f"{name}.ttf")
    pdf.set_margins(MARGIN, MARGIN)
    pdf.set_auto_page_break(True, margin=MARGIN)
    pdf.set_title(title)
    pdf.set_creator("Slipway")
    pdf.set_creation_date(datetime.now(UTC))
    pdf.add_page()
    _text(pdf, title, size=17, style="B", after=4)
    return pdf


def _block(pdf: "FPDF", block: Block) -> None:
    match block:
        case Heading(text):
            pdf.ln(3)
            _text(pdf, text, size=12.5, style="B", color=ACCENT, after=1.5)
        case Paragraph(text):
            _text(pdf, text, after=2.5)
        case Gap(number, name, what):
            _room(pdf, 14)
            with pdf.local_context(fill_color=MARKED):
                _text(pdf, f"TO FILL IN {number}: {what} ({name})", style="B", after=2.5, fill=True)
        case Figure(path, caption):
            _figure(pdf, path, caption)
        case Table(head, rows, numbers):
            _table(pdf, head, rows, numbers)


def _text(
    pdf: "FPDF",
    text: str,
    *,
    size: float = SIZE,
    style: str = "",
    color: tuple[int, int, int] = INK,
    after: float = 0.0,
    fill: bool = False,
) -> None:
    pdf.set_font(FONT, style, size)  # type: ignore[arg-type]
    pdf.set_text_color(*color)
    pdf.multi_cell(0, size * 0.53, text, align="L", fill=fill, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(after)


def _room(pdf: "FPDF", height: float) -> None:
    """Begin a new page if a block of this height (mm) does not fit on the present one."""
    if pdf.will_page_break(height):
        pdf.add_page()


def _figure(pdf: "FPDF", path: Path, caption: str) -> None:
    from PIL import Image

    with Image.open(path) as image:
        height = pdf.epw * image.height / image.width
    _room(pdf, height + 12)
    pdf.image(str(path), w=pdf.epw, alt_text=caption)
    pdf.ln(1)
    _text(pdf, caption, size=8, color=MUTED, after=3)


def _table(pdf: "FPDF", head: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool) -> None:
    from fpdf.enums import TableBordersLayout
    from fpdf.fonts import FontFace

    size, widths = _size(head), _widths(pdf, head, rows)
    _room(pdf, _height(pdf, Table(head, rows)))
    pdf.set_font(FONT, size=size)
    pdf.set_text_color(*INK)
    pdf.set_draw_color(*LINE)
    width = len(head) or 2
    others = "RIGHT" if numbers else "LEFT"
    with pdf.table(
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        col_widths=widths,
        first_row_as_headings=bool(head),
        headings_style=FontFace(emphasis="BOLD", color=MUTED),
        line_height=size * 0.55,
        padding=(0.6, 1.2),
        text_align=("LEFT", *[others] * (width - 1)),
    ) as table:
        for cells in [head, *rows] if head else rows:
            row = table.row()
            for cell in cells:
                row.cell(cell)
    pdf.ln(3)


def _size(head: Sequence[str]) -> float:
    return SIZE if len(head) <= 5 else 8.0


def _height(pdf: "FPDF", table: Table) -> float:
    """Return the height (mm) of a table, or of the first rows of a long one, which must stay together."""
    widths, size = _widths(pdf, table.head, table.rows), _size(table.head)
    pdf.set_font(FONT, size=size)
    scale = pdf.epw / sum(widths)
    lines = [
        max(
            1 + int(pdf.get_string_width(cell) / (width * scale - 3))
            for cell, width in zip(row, widths, strict=True)
        )
        for row in table.rows[:KEPT_TOGETHER]
    ]
    return sum(count * size * 0.55 + 1.2 for count in [1, *lines])


def _widths(pdf: "FPDF", head: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """Return the widths of the columns, proportional to their content; the widest is cut if the page is too narrow."""
    if not head:
        return PAIR
    pdf.set_font(FONT, "B", 8.0)
    found = [
        max(pdf.get_string_width(text) for text in (name, *cells)) + 4
        for name, cells in zip(head, zip(*rows, strict=True), strict=True)
    ]
    widest = found.index(max(found))
    found[widest] -= max(0.0, sum(found) - pdf.epw)  # its cells are wrapped
    return tuple(found)
