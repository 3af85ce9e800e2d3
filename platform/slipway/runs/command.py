"""`slipway runs`: the runs below a folder; `show NAME|DIR`: the segments of one; `sync NAME|DIR`: wandb's data."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from slipway.arguments import Parser
from slipway.config.explain import nearest
from slipway.errors import EXIT_DONE, UserError
from slipway.runs import ledger
from slipway.runs.overview import Overview, find, is_run, look

USAGE = """\
slipway runs: what became of each run, from its ledger; needs no torch

usage: slipway runs [--dir DIR] [--json]               the runs below DIR (default: runs)
       slipway runs show NAME|DIR [--dir DIR] [--json]  one run: its segments, its progress, why each ended
       slipway runs sync NAME|DIR [--dir DIR] [--dry-run]
                                                      upload what wandb kept offline; needs a network and a key

  --dir DIR   where to look for runs
  --dry-run   print the commands that would upload, do nothing
  --json      for programs; times in Unix seconds"""


ACTIONS = ("show", "sync")


def main(argv: Sequence[str]) -> int:
    """List runs or show one. Returns the exit code."""
    if "--help" in argv or "-h" in argv:
        print(USAGE)
        return EXIT_DONE
    parser = Parser(prog="slipway runs", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--dir", type=Path, default=Path("runs"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_intermixed_args(list(argv))
    words: list[str] = options.words
    action = words[0] if words else "list"
    if words and action not in ACTIONS:
        raise UserError(f"runs {action}: no such action{nearest(action, ACTIONS)}")
    if options.dry_run and action != "sync":
        raise UserError("runs --dry-run: only `runs sync` takes it")
    if options.json and action == "sync":
        raise UserError("runs sync: takes no --json")
    if not words:
        return _list(options.dir, options.json)
    if len(words) != 2:
        raise UserError(f"runs {action}: got {len(words) - 1} names; allowed: one NAME or DIR")
    path = _find_one(words[1], options.dir, action)
    if action == "show":
        return _show(path, options.json)

    from slipway.runs.sync import sync

    return sync(look(path, time.time()), options.dry_run)


def _list(folder: Path, as_json: bool) -> int:
    if not folder.is_dir():
        raise UserError(f"runs --dir: {folder} is not a folder; allowed: one with runs in it")
    now = time.time()
    runs: list[Overview] = []
    notes: list[str] = []
    for path in find(folder):
        try:
            runs.append(look(path, now))
        except UserError as error:
            notes.append(str(error))
    if as_json:
        print(json.dumps({"runs": [run.as_json() for run in runs], "unreadable": notes}))
        return EXIT_DONE

    from slipway.runs.tables import print_runs

    print_runs(runs, folder, now)
    for note in notes:
        print(note)
    return EXIT_DONE


def _show(path: Path, as_json: bool) -> int:
    run = look(path, time.time())
    if as_json:
        segments = [ledger.as_json(segment) for segment in run.segments]
        print(json.dumps({**run.as_json(), "segments": segments}))
        return EXIT_DONE

    from slipway.runs.tables import print_run

    print_run(run, time.time())
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
            f"runs {action} {name}: {len(named)} runs have this name: {', '.join(map(str, named))}"
        )
    if not found:
        raise UserError(f"runs {action} {name}: no run in {folder}; allowed: a run's directory, or --dir DIR")
    names = {path.name for path in found} | {text for text in own.values() if text}
    raise UserError(f"runs {action} {name}: no such run in {folder}{nearest(name, names)}")


def _own_name(path: Path) -> str | None:
    try:
        return look(path, time.time()).name
    except UserError:
        return None
