"""How a measurement is published: where, with what, when and by which command, then the numbers."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from slipway import __version__

Row = Mapping[str, str | float | int]


def publish(
    benchmark: str, options: Sequence[str], rows: Sequence[Row], summary: Row, *, as_json: bool = False
) -> None:
    """Print a measurement: for people, or as one JSON object.

    Args:
        benchmark: Its name after `slipway bench`.
        options: The words that came after the name.
        rows: Lines of the table, with the same columns in each; a column's name carries its unit.
        summary: The numbers that it was measured for.
        as_json: One JSON object instead of text.
    """
    record = {
        "benchmark": benchmark,
        "command": shlex.join(["slipway", "bench", benchmark, *options]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "rows": [dict(row) for row in rows],
        "summary": dict(summary),
    }
    if as_json:
        print(json.dumps(record))
    else:
        _print_table(record)


def machine() -> dict[str, Any]:
    """Processor, usable cores, memory (GiB) and, where torch was imported and sees one, GPU."""
    import psutil

    found = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    torch = sys.modules.get("torch")  # importing it here would cost what some benchmarks measure
    if torch and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
    return found


def versions() -> dict[str, str]:
    """Of what decides the speed."""
    found = {"slipway": __version__, "python": platform.python_version()}
    for name in ("torch", "megatron-core", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _print_table(record: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    facts = record["machine"]
    described = f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gib']} GiB"
    console.print(f"command   {record['command']}", markup=False)
    console.print(f"date      {record['date']}", markup=False)
    console.print(
        "device    " + ", ".join([described, *([facts["gpu"]] if "gpu" in facts else [])]), markup=False
    )
    console.print("versions  " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()), markup=False)
    if record["rows"]:
        table = Table(header_style="dim", box=SIMPLE_HEAD)
        for name, value in record["rows"][0].items():
            table.add_column(name, justify="left" if isinstance(value, str) else "right")
        for row in record["rows"]:
            table.add_row(*(escape(shown(value)) for value in row.values()))
        console.print(table)
    for name, value in record["summary"].items():
        console.print(f"{name}: {shown(value)}", markup=False)


def shown(value: str | float | int) -> str:
    """Four significant digits, thousands separated."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value
