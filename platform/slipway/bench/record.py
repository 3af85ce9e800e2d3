"""Publishes a measurement: where, with what, when and by which command it was made, then the numbers."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from slipway import __version__
from slipway.files import write_whole


def named(label: str | None) -> Any:
    """Return a field of a row's or a summary's dataclass with a label for people.

    A field without one is labelled by its name; with the label None it is in the JSON alone. In a label {units} stands
    for the plural of the plan's unit. A field that holds a mapping is a column, or a line, for each key: {key} stands
    for it.
    """
    return field(metadata={"label": label})


def publish(
    benchmark: str,
    options: Sequence[str],
    rows: Sequence[Any],
    summary: Any,
    *,
    units: str = "",
    as_json: bool = False,
    folder: Path | None = None,
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Print a measurement for people, or as one JSON object, and return that object; see write.

    as_json: One JSON object instead of text.
    """
    record = write(benchmark, options, rows, summary, units=units, folder=folder, measured=measured)
    if as_json:
        print(json.dumps(record))
    else:
        _print(record, [labelled(row, units) for row in rows], labelled(summary, units))
    return record


def write(
    benchmark: str,
    options: Sequence[str],
    rows: Sequence[Any],
    summary: Any,
    *,
    units: str = "",
    folder: Path | None = None,
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a measurement as one JSON object, with the fields' names.

    Args:
        benchmark: Its name after `slipway bench`.
        options: The words that came after the name.
        rows: Lines of the table: instances of one dataclass.
        summary: An instance of another: the numbers that it was measured for.
        units: The unit of rates, in the plural (Units.name).
        folder: Where the JSON object is written as bench-BENCHMARK.json as well; None: nowhere.
        measured: `machine` and `versions` of the place that measured; None: this one.
    """
    record = {
        "benchmark": benchmark,
        "command": shlex.join(["slipway", "bench", benchmark, *options]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": measured["machine"] if measured else machine(),
        "versions": measured["versions"] if measured else versions(),
        "units": units,
        "rows": [asdict(row) for row in rows],
        "summary": asdict(summary),
    }
    if folder:
        write_whole(folder / f"bench-{benchmark}.json", json.dumps(record, indent=1) + "\n")
    return record


def labelled(row: Any, units: str) -> dict[str, Any]:
    """Return the values of a row or a summary by label, without those that are None."""
    found: dict[str, Any] = {}
    for one in fields(row):
        value = getattr(row, one.name)
        label = one.metadata.get(
            "label", "{key}" if isinstance(value, Mapping) else one.name.replace("_", " ")
        )
        if label is None:
            continue
        if isinstance(value, Mapping):
            found |= {label.format(key=key, units=units): item for key, item in value.items()}
        elif value is not None:
            found[label.format(units=units)] = value
    return found


def machine() -> dict[str, Any]:
    """Return processor, usable cores, memory (GiB) and, if torch was imported and sees one, the GPU."""
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
    """Return the versions of the packages that decide the speed, as far as they are installed."""
    found = {"slipway": __version__, "python": platform.python_version()}
    for name in ("torch", "megatron-core", "transformer-engine", "triton", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _print(record: dict[str, Any], rows: Sequence[dict[str, Any]], summary: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"command   {record['command']}", markup=False)
    console.print(f"date      {record['date']}", markup=False)
    console.print(f"device    {describe_machine(record)}", markup=False)
    console.print(f"versions  {describe_versions(record)}", markup=False)
    if rows:
        print_table(rows)
    for name, value in summary.items():
        console.print(f"{name}: {shown(value)}", markup=False)


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of values by column; a cell that a row lacks is empty."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table(header_style="dim", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    columns = {name: value for row in rows for name, value in row.items()}
    for name, value in columns.items():
        table.add_column(escape(name), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(escape(shown(row[name])) if name in row else "" for name in columns))
    whole = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    wide = Console(highlight=False, width=max(console.width, whole))
    wide.print(table)  # a long line is better than half a number


def describe_machine(record: Mapping[str, Any]) -> str:
    """Return the record's machine in words."""
    facts = record["machine"]
    words = [facts["processor"], f"{facts['cores']} cores", f"{facts['memory_gib']} GiB"]
    return ", ".join([*words, *([facts["gpu"]] if "gpu" in facts else [])])


def describe_versions(record: Mapping[str, Any]) -> str:
    """Return the record's versions in words."""
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items())


def shown(value: str | float | int) -> str:
    """Return a value with four significant digits and thousands separated."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else value
