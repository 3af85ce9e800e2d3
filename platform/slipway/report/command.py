"""`slipway report RUN...`: prints a run's numbers as a table, draws its loss, and writes all of it as one page."""

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slipway.errors import EXIT_DONE, UserError
from slipway.files import reason, write_whole
from slipway.metrics import evaluations
from slipway.report import costs, load, receipt
from slipway.report.evaluations import sentences as sentences_of
from slipway.report.run import Recorded, read
from slipway.report.table import table
from slipway.run_dir import RunDir
from slipway.runs.find import folders


def run(options: argparse.Namespace) -> int:
    """Report on the named runs and return the exit code."""
    return report(folders(options.runs, options.dir, "report"), options.json, options.out)


def report(runs: Path | Sequence[Path], as_json: bool = False, out: Path | None = None) -> int:
    """Print the tables, or JSON; write the page, and loss.png into each run's folder. Return the exit code.

    Raises UserError if a file cannot be written.
    """
    now = time.time()
    found = [read(folder, now) for folder in ([runs] if isinstance(runs, Path) else runs)]
    page = out or _place(found)

    from slipway.report.page.document import page as document

    _writing(page, lambda: write_whole(page, document(found, now)))
    if as_json:
        every = [_as_json(one) for one in found]
        print(
            json.dumps(
                {**every[0], "page": str(page)} if len(every) == 1 else {"runs": every, "page": str(page)}
            )
        )
    else:
        _print_tables(found)
    from slipway.report.curve import draw

    for one in found:
        picture = RunDir(one.folder).picture
        _writing(
            picture,
            lambda one=one, picture=picture: draw(one.metrics, one.units, one.plan, one.name, picture),
        )
    if not as_json:
        _print_paths(found, page)
    return EXIT_DONE


def _place(found: Sequence[Recorded]) -> Path:
    """Return where the page goes: one run's own folder, or for several the folder that contains them all."""
    if len(found) == 1:
        return RunDir(found[0].folder).page
    return RunDir(Path(os.path.commonpath([one.folder.resolve().parent for one in found]))).page


def _writing(path: Path, write: Any) -> None:
    try:
        write()
    except OSError as error:
        raise UserError(
            "run.dir",
            f"cannot be written: {reason(error)}",
            value=path,
            do="name a page in a directory that you can write to (--out)",
        ) from error


def _as_json(one: Recorded) -> dict[str, Any]:
    """Return a run's report for programs: times in seconds, names as in metrics.jsonl and the ledger."""
    spells = costs.spells(one.overview.segments, one.metrics)
    bill = receipt.make(one.plan, one.metrics)
    return {
        "name": one.name,
        "dir": str(one.folder),
        **asdict(one.units),
        **asdict(one.summary),
        "state": one.overview.state,
        "device_hours": one.overview.device_hours,
        "energy_used": one.overview.energy.as_json(),
        "costs": asdict(costs.add_up(spells, one.metrics)),
        "receipt": {
            **asdict(bill),
            "profile": bill.profile and bill.profile.as_json(),
            "attribution": [{"what": what, "share": share} for what, share in receipt.attribution(bill)],
        },
        "evaluations": [
            result.model_dump(mode="json", include={"name", "title", "step", "scores"})
            for result in evaluations.found(one.folder)[0]
        ],
        "notes": one.notes,
    }


def _print_tables(found: Sequence[Recorded]) -> None:
    from rich.console import Console

    from slipway.report.page.bill import sentences

    console = Console(highlight=False, soft_wrap=True)
    for one in found:
        console.print(table(one.summary, one.units, one.plan, one.folder))
        for line in sentences(receipt.make(one.plan, one.metrics)):
            console.print(line, markup=False)
        for line in load.sentences(one.metrics):
            console.print(line, markup=False)
        for line in sentences_of(evaluations.found(one.folder)[0]):
            console.print(line, markup=False)
        for note in one.notes:
            console.print(note, markup=False)


def _print_paths(found: Sequence[Recorded], page: Path) -> None:
    print(f"page        {page}")
    for one in found:
        print(f"loss curve  {RunDir(one.folder).picture}\nmetrics     {RunDir(one.folder).metrics}")
