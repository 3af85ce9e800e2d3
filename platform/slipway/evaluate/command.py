"""`slipway evaluate RUN`: what the run's family finds out of a checkpoint, kept in the run's directory."""

import argparse
import json
from pathlib import Path

from slipway import files
from slipway.checkpoint import store
from slipway.checkpoint.manifest import Damaged
from slipway.config.schema import RunConfig
from slipway.errors import EXIT_DONE, Fault, UserError
from slipway.metrics import evaluations
from slipway.models import evaluation_of
from slipway.models.evaluation import Result
from slipway.plan import plan_file
from slipway.run_dir import RunDir
from slipway.runs.alone import alone, world
from slipway.runs.find import folders


def run(options: argparse.Namespace) -> int:
    """Evaluate the newest checkpoint, or the one of `step`. Returns the exit code."""
    (folder,) = folders([options.run], options.dir, "evaluate")
    config = alone(_config(folder), options.device)
    evaluation = evaluation_of(config)
    checkpoint = _checkpoint(folder, options.step)
    evaluation.check(config)
    with world(config) as here:
        step, model = store.step_of(checkpoint), here.trained(checkpoint)
        result = evaluation.evaluate(config, step, model, here.untrained, here.device)
    try:
        path = evaluations.write(folder, result)
    except OSError as error:
        raise Fault(RunDir(folder).evaluations, f"cannot be written: {files.reason(error)}") from error
    if options.json:
        print(json.dumps({**result.model_dump(mode="json"), "file": str(path)}))
    else:
        _print(result, path)
    return EXIT_DONE


def _config(folder: Path) -> RunConfig:
    if not RunDir(folder).plan.is_file():
        raise UserError("run.dir", f"has no {RunDir(folder).plan.name}: no run was begun there", value=folder)
    return plan_file.read_config(RunDir(folder).plan)


def _checkpoint(folder: Path, step: int | None) -> Path:
    """The newest checkpoint, or the one of a step, verified. Raises UserError where there is none that is good."""
    there = store.complete(folder)
    chosen = there[-1:] if step is None else [path for path in there if store.step_of(path) == step]
    if not chosen:
        have = ", ".join(str(store.step_of(path)) for path in there)
        where = f"{store.folder(folder)}, which holds {have}" if have else str(store.folder(folder))
        if step is None:
            raise UserError("run.dir", f"has no checkpoint in {where}", value=folder)
        raise UserError("evaluate --step", f"is not in {where}", value=step)
    try:
        store.verify(chosen[0])
    except Damaged as error:
        raise UserError(
            f"checkpoint {chosen[0]}", f"is damaged: {error}", use="another one with --step N"
        ) from None
    return chosen[0]


def _print(result: Result, path: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    head, *rows = result.rows()
    table = Table(
        title=f"{escape(result.title)}, step {result.step:,}", title_justify="left", box=SIMPLE_HEAD
    )
    for name in head:
        table.add_column(escape(name), header_style="dim", justify="right" if name else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(result.how, markup=False)
    print(f"result      {path}")
