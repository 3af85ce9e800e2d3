"""`slipway runs`: the runs below a folder; `show`, `logs`, `cancel`, `sync NAME|DIR`: one of them."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from slipway.arguments import Parser
from slipway.config.explain import nearest
from slipway.errors import EXIT_DONE, UserError
from slipway.runs import launched, ledger
from slipway.runs.overview import find, is_run, look

USAGE = """\
slipway runs: what became of each run, from its ledger; needs no torch

usage: slipway runs [--dir DIR] [--json]               the runs below DIR (default: runs)
       slipway runs show NAME|DIR [--dir DIR] [--json]  one run: its segments, its progress, why each ended
       slipway runs logs NAME|DIR [--dir DIR] [--follow] [--lines N] [--rank R]
                                                      the last lines of what it printed (default: 100)
       slipway runs cancel NAME|DIR [--dir DIR] [--dry-run] [--no-wait]
                                                      end its jobs, those that run and those that wait
       slipway runs sync NAME|DIR [--dir DIR] [--dry-run]
                                                      upload what wandb kept offline; needs a network and a key

  --dir DIR   where to look for runs
  --follow    print what comes, until the run ends
  --rank R    what this rank printed
  --dry-run   print the commands that would end jobs, or upload; do nothing
  --no-wait   do not wait until its jobs and pods are gone; until then it cannot be launched again
  --json      for programs; times in Unix seconds

Of runs that `slipway launch --submit` started, Slurm or Kubernetes is asked for the state (squeue, sacct, kubectl)."""


ACTIONS = ("show", "logs", "cancel", "sync")
OWN = {
    "dry_run": ("sync", "cancel"),
    "follow": ("logs",),
    "lines": ("logs",),
    "rank": ("logs",),
    "no_wait": ("cancel",),
}
NO_JSON = ("sync", "logs", "cancel")
LINES = 100


def main(argv: Sequence[str]) -> int:
    """List runs or show one. Returns the exit code."""
    if "--help" in argv or "-h" in argv:
        print(USAGE)
        return EXIT_DONE
    parser = Parser(prog="slipway runs", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--dir", type=Path, default=Path("runs"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dry-run", action="store_true", default=None)
    parser.add_argument("--no-wait", action="store_true", default=None)
    parser.add_argument("--follow", "-f", action="store_true", default=None)
    parser.add_argument("--lines", "-n", type=_natural)
    parser.add_argument("--rank", type=_natural)
    options = parser.parse_intermixed_args(list(argv))
    words: list[str] = options.words
    action = words[0] if words else "list"
    if words and action not in ACTIONS:
        raise UserError(f"runs {action}", "no such action", do=nearest(action, ACTIONS))
    for name, actions in OWN.items():
        if getattr(options, name) is not None and action not in actions:
            takers = " and ".join(f"`runs {one}`" for one in actions)
            verb = "takes" if len(actions) == 1 else "take"
            raise UserError(f"runs --{name.replace('_', '-')}", f"only {takers} {verb} it")
    if options.json and action in NO_JSON:
        raise UserError(f"runs {action}", "takes no --json")
    if not words:
        return _list(options.dir, options.json)
    if len(words) != 2:
        raise UserError(f"runs {action}", f"takes one name, got {len(words) - 1}", use="one NAME or DIR")
    path = _find_one(words[1], options.dir, action)
    if action == "show":
        return _show(path, options.json)
    run = look(path, time.time())
    if action == "logs":
        from slipway.runs.logs import logs

        lines = LINES if options.lines is None else options.lines
        return logs(run, lines, options.rank, bool(options.follow))
    if action == "cancel":
        from slipway.runs.cancel import cancel

        return cancel(run.name, path, bool(options.dry_run), wait=not options.no_wait)

    from slipway.runs.sync import sync

    return sync(run, bool(options.dry_run))


def _list(folder: Path, as_json: bool) -> int:
    if not folder.is_dir():
        raise UserError("runs --dir", "is not a directory", value=folder, use="one that contains runs")
    now = time.time()
    runs = [look(path, now) for path in find(folder)]
    notes = [note for run in runs for note in run.problems]
    jobs = launched.of_runs(run.dir for run in runs)
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
    jobs = launched.of_runs([path], whole=True)[path]
    if as_json:
        segments = [ledger.as_json(segment) for segment in run.segments]
        chain = {"segment": jobs.segment, "limit": jobs.limit} if jobs.jobs else None
        own = {
            "scheduler": jobs.current_as_json(),
            "segments": segments,
            "jobs": jobs.as_json(),
            "chain": chain,
        }
        print(json.dumps({**run.as_json(), **own}))
        return EXIT_DONE

    from slipway.runs.tables import print_run

    print_run(run, time.time(), jobs)
    for note in run.problems:
        print(note)
    return EXIT_DONE


def _find_one(name: str, folder: Path, action: str) -> Path:
    """The directory of a run given by its directory, its folder's name, or its own name."""
    if is_run(Path(name)):
        return Path(name)
    found = list(find(folder))
    named = [path for path in found if name in (path.name, str(path.relative_to(folder)))]
    own = {path: _own_name(path) for path in found} if not named else {}
    named = named or [path for path in found if own[path] == name]
    if len(named) == 1:
        return named[0]
    if named:
        raise UserError(
            f"runs {action} {name}",
            f"{len(named)} runs have this name: {', '.join(map(str, named))}",
            use="the directory of one of them",
        )
    if not found:
        raise UserError(f"runs {action} {name}", f"no run in {folder}", use="a run's directory, or --dir DIR")
    names = {path.name for path in found} | {text for text in own.values() if text}
    raise UserError(f"runs {action} {name}", f"no such run in {folder}", do=nearest(name, names))


def _own_name(path: Path) -> str:
    return look(path, time.time()).name


def _natural(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
