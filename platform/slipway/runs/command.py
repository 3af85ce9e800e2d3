"""`slipway runs`: list the runs below a directory; `show`, `logs`, `cancel`, `sync NAME|DIR`: handle one of them."""

import argparse
import json
import time
from pathlib import Path

from slipway.errors import EXIT_DONE, UserError
from slipway.runs import jobs as run_jobs
from slipway.runs import ledger
from slipway.runs.energy import ask_slurm, of_run, of_segment
from slipway.runs.find import find_one
from slipway.runs.overview import find, look


def run(options: argparse.Namespace) -> int:
    """List runs (`action` None), or show, follow, end or upload the one called `name`. Return the exit code."""
    action = options.action
    if action is None:
        return _list(options.dir, options.json)
    path = find_one(options.name, options.dir, f"runs {action}")
    if action == "show":
        return _show(path, options.json)
    found = look(path, time.time())
    if action == "logs":
        from slipway.runs.logs import logs

        return logs(found, options.lines, options.rank, options.follow)
    if action == "cancel":
        from slipway.runs.cancel import cancel

        return cancel(found.name, path, options.dry_run, wait=not options.no_wait)

    from slipway.runs.sync import sync

    return sync(found, options.dry_run)


def _list(folder: Path, as_json: bool) -> int:
    if not folder.is_dir():
        raise UserError("runs --dir", "is not a directory", value=folder, use="one that contains runs")
    now = time.time()
    runs = [look(path, now) for path in find(folder)]
    notes = [note for run in runs for note in run.problems]
    jobs = run_jobs.of_runs(run.dir for run in runs)
    if as_json:
        rows = [{**run.as_json(), "scheduler": jobs[run.dir].current_as_json()} for run in runs]
        print(json.dumps({"runs": rows, "unreadable": notes}))
        return EXIT_DONE

    from slipway.runs.tables import print_runs

    print_runs(runs, folder, now, jobs)
    for note in notes:
        print(note)
    return EXIT_DONE


def _show(path: Path, as_json: bool) -> int:
    run = look(path, time.time())
    jobs = run_jobs.of_runs([path], whole=True)[path]
    accounted = ask_slurm(run.segments)
    if as_json:
        segments = [
            {**ledger.as_json(segment), "energy_used": of_segment(segment, accounted).as_json()}
            for segment in run.segments
        ]
        chain = {"segment": jobs.segment, "limit": jobs.limit} if jobs.jobs else None
        own = {
            "scheduler": jobs.current_as_json(),
            "energy_used": of_run(run.segments, accounted).as_json(),
            "segments": segments,
            "jobs": jobs.as_json(),
            "chain": chain,
        }
        print(json.dumps({**run.as_json(), **own}))
        return EXIT_DONE

    from slipway.runs.tables import print_run

    print_run(run, time.time(), jobs, accounted)
    for note in run.problems:
        print(note)
    return EXIT_DONE
