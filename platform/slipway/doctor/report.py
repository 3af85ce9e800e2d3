"""The findings in the forms that people and programs read."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from slipway.doctor.finding import BY_NAME, CHECKS, Finding
from slipway.doctor.job.together import summed

STYLES = {"ok": "green", "warning": "yellow", "fault": "bold red", "skipped": "dim"}
LOG_WIDTH = 160
_ORDER = {check.name: number for number, check in enumerate(CHECKS)}


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order of the list of checks."""
    return sorted(findings, key=lambda finding: _ORDER[finding.name])


def to_json(node: str, nodes: Sequence[str], findings: Sequence[Finding], left_out: Sequence[str]) -> str:
    """Return one JSON object: who reports, about which nodes, all checks, and those left out."""
    plain: dict[str, Any] = {
        "node": node,
        "nodes": list(nodes),
        "checks": [finding.plain() | {"group": BY_NAME[finding.name].group} for finding in ordered(findings)],
        "left_out": list(left_out),
    }
    return json.dumps(plain)


def print_table(nodes: Sequence[str], findings: Sequence[Finding], left_out: Sequence[str]) -> None:
    """Print the table of findings, with one line for all nodes that agree."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from slipway.host_lists import fold

    title = f"{len(nodes)} nodes: {fold(nodes)}" if len(nodes) > 1 else f"Node {nodes[0]}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in ("", "check", "", "saw", "expected", "node"):
        table.add_column(column, overflow="fold")
    last = ""
    for finding, names in sorted(summed(findings), key=lambda row: _ORDER[row[0].name]):
        group = BY_NAME[finding.name].group
        status = f"[{STYLES[finding.status]}]{finding.status}[/]"
        everybody = len(nodes) > 1 and names == fold(nodes)
        table.add_row(
            group if group != last else "",
            finding.name,
            status,
            escape(finding.saw),
            escape(finding.expected),
            escape("all" if everybody else names if len(nodes) > 1 else ""),
        )
        if finding.advice:
            table.add_row("", "", "", f"[italic]-> {escape(finding.advice)}[/]", "", "")
        last = group
    # a job's log has no width of its own
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH)
    with console.capture() as drawn:
        console.print(table)
    lines = [line.rstrip() for line in drawn.get().splitlines()]
    unasked = dict.fromkeys(f"{f.name} ({f.saw})" for f in ordered(findings) if f.status == "skipped")
    if unasked:
        lines += [f"Not asked: {'; '.join(unasked)}."]
    if left_out:
        lines += [
            f"Left out here: {', '.join(left_out)}. They run inside a job, one process per device:",
            "  srun slipway doctor --collectives ...",
        ]
    print("\n".join(lines), flush=True)
