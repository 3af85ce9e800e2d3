"""A result as a table on the terminal."""

from pathlib import Path

from slipway.models.evaluation import Result


def show(result: Result, path: Path) -> None:
    """Print a result and the path of its file."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    head, *rows = result.rows()
    table = Table(
        title=f"{escape(result.title)}, step {result.step:,}", title_justify="left", box=SIMPLE_HEAD
    )
    for name in head:
        table.add_column(
            escape(name.replace("_", " ")), header_style="dim", justify="right" if name else "left"
        )
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(result.how, markup=False)
    print(f"result      {path}")
