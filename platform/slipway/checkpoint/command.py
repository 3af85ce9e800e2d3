"""`slipway checkpoint list|verify|show run.dir=DIR`: list a run's checkpoints, and verify that they are whole."""

import argparse
import json
from pathlib import Path
from typing import Any

from slipway import words
from slipway.checkpoint import manifest as checkpoint_manifest
from slipway.checkpoint import store
from slipway.checkpoint.manifest import Damaged
from slipway.checkpoint.store import CheckpointInfo
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, EXIT_FAULT, UserError
from slipway.files import Unreadable
from slipway.plan.facts import sizes_of
from slipway.secrets import in_one_line
from slipway.words import clock, size


def run(config: RunConfig, options: argparse.Namespace) -> int:
    """List, verify or show a run's checkpoints and return the exit code; of the configuration only run.dir is read.

    Options: `action`; `step`, of one checkpoint; `json`. Raises UserError if run.dir or the step does not exist.
    """
    found = _chosen(config.run.dir, options.step)
    if options.action == "verify":
        return _verify(found, options.json)
    if options.action == "show":
        return _show(found, options.json, config.run.dir)
    return _list(found, options.json, config.run.dir)


def describe(path: Path) -> dict[str, Any]:
    """Return what is known of a checkpoint without reading its tensors; `problem`: what is wrong, or None."""
    record: dict[str, Any] = {"step": store.step_of(path), "path": str(path), "problem": None}
    try:
        store.verify(path, content=False)
        info, manifest = store.read_info(path), checkpoint_manifest.read(path)
        written = checkpoint_manifest.look(path, (path / checkpoint_manifest.FILE).stat).st_mtime
    except (Damaged, Unreadable) as error:
        return record | _problem(error)
    return record | {
        "consumed_samples": info.consumed_samples,
        "world_size": info.world_size,
        "layout": _layout(info),
        "files": len(manifest.files),
        "bytes": manifest.size,
        "written": written,
    }


def _layout(info: CheckpointInfo) -> str:
    """Return the layout of the ranks that wrote a checkpoint as `TP2 × PP2 × DP2`: dimensions larger than one."""
    sizes = info.parallelism
    replicas = info.world_size // (
        sizes.tensor_model_parallel_size * sizes.context_parallel_size * sizes.pipeline_model_parallel_size
    )
    return words.layout(sizes_of(sizes, replicas))


def _chosen(run_dir: Path, step: int | None) -> list[Path]:
    if not run_dir.is_dir():
        raise UserError("run.dir", "does not exist", value=run_dir, do="name the directory of a run")
    found = store.complete(run_dir)
    if step is None:
        return found
    chosen = [path for path in found if store.step_of(path) == step]
    if not chosen:
        there = ", ".join(str(store.step_of(path)) for path in found) or "none"
        raise UserError(
            "checkpoint --step",
            f"is not in {store.folder(run_dir)}, which holds {there}",
            value=step,
            do="choose one of those steps",
        )
    return chosen


def _list(found: list[Path], as_json: bool, run_dir: Path) -> int:
    records = [describe(path) for path in found]
    if as_json:
        print(json.dumps(records, indent=1))
    elif not records:
        print(f"no checkpoint in {store.folder(run_dir)}")
    else:
        rows = [
            (f"{r['step']:,}", "", "", "", "", "", _state(r))
            if r["problem"]
            else (
                f"{r['step']:,}",
                f"{r['consumed_samples']:,}",
                f"{r['world_size']:,}",
                r["layout"],
                size(r["bytes"]),
                clock(r["written"]),
                "complete",
            )
            for r in records
        ]
        head = ("step", "samples", "ranks", "layout", "size", "written", "state")
        _print_table(f"Checkpoints in {store.folder(run_dir)}", head, rows)
    return EXIT_DONE


def _verify(found: list[Path], as_json: bool) -> int:
    records: list[dict[str, Any]] = []
    for path in found:
        record: dict[str, Any] = {"step": store.step_of(path), "path": str(path), "problem": None}
        try:
            store.verify(path)
        except (Damaged, Unreadable) as error:
            record |= _problem(error)
        records.append(record)
        if not as_json:
            print(f"{path.name}  {_state(record)}", flush=True)
    if as_json:
        print(json.dumps(records))
    elif not found:
        print("no checkpoint")
    return EXIT_FAULT if any(record["problem"] for record in records) else EXIT_DONE


def _show(found: list[Path], as_json: bool, run_dir: Path) -> int:
    if not found:
        raise UserError(
            "run.dir",
            f"{store.folder(run_dir)} holds no checkpoint",
            do="name a run that has saved one (checkpoint.interval)",
        )
    path = found[-1]
    try:
        info, manifest = store.read_info(path), checkpoint_manifest.read(path)
    except Damaged as error:
        raise UserError(f"checkpoint {path}", str(error), do="choose another --step") from None
    if as_json:
        print(json.dumps({**info.model_dump(mode="json"), **manifest.model_dump()}, indent=1))
        return EXIT_DONE

    model = ", ".join(f"{name} {value}" for name, value in info.shape.items() if value is not None)
    switches = [name for name, value in info.parallelism.model_dump().items() if value is True]
    rows = [
        ("step", f"{info.step:,}"),
        ("samples consumed", f"{info.consumed_samples:,}"),
        *([("imported from", f"{of.file} ({of.format})")] if (of := info.imported) else []),
        ("ranks", f"{info.world_size:,}"),
        ("layout", ", ".join([_layout(info), *switches])),
        ("precision", info.precision),
        ("model", model),
        ("written by", ", ".join(f"{name} {value}" for name, value in info.versions.items())),
        ("written", clock((path / checkpoint_manifest.FILE).stat().st_mtime)),
        ("size", f"{size(manifest.size)} in {len(manifest.files)} files"),
        *((name, f"{entry.size:,} bytes") for name, entry in manifest.files.items()),
    ]
    _print_table(f"Checkpoint {path}", ("", ""), rows)
    return EXIT_DONE


def _problem(error: Damaged | Unreadable) -> dict[str, Any]:
    """Return what is wrong with a checkpoint, and whether it is damaged or only cannot be read now."""
    return {"problem": in_one_line(error), "damaged": isinstance(error, Damaged)}


def _state(record: dict[str, Any]) -> str:
    if not record["problem"]:
        return "good"
    return f"damaged: {record['problem']}" if record["damaged"] else record["problem"]


def _print_table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.show_header = any(head)
    for name in head:
        table.add_column(name, header_style="dim", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(table)
