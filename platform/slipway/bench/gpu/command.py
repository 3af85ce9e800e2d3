"""`slipway bench gpu`: runs every part in turn, each result on disk at once.

At the end come one JSON, one picture and one table.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slipway import files
from slipway.bench.gpu import device, results
from slipway.bench.gpu.device import Here
from slipway.bench.gpu.parts import PARTS, Part, begins, chosen, listed, seconds_for
from slipway.bench.gpu.process import ended_in
from slipway.bench.gpu.tables import markdown, record_of, summary
from slipway.bench.options import OUT, make_folder
from slipway.errors import EXIT_CONTINUE, EXIT_DONE, EXIT_FAULT, UserError
from slipway.run_dir import RunDir
from slipway.words import duration

LOG_LINES = 12  # last lines of a failed part's log, kept in its result


def run(options: argparse.Namespace) -> int:
    """Run the parts that have no result yet and return the exit code: 1 if one is bad, 75 if some are left.

    Raises UserError if there is no GPU, or if the folder holds results of something else.
    """
    if options.minutes <= 0:
        raise UserError(
            "bench gpu --minutes", "is not above 0", value=options.minutes, do="give a number above 0"
        )
    wanted = chosen(options.part)
    if options.dry_run:
        print("\n".join(listed(wanted, rehearse=options.rehearse, minutes=options.minutes)))
        return EXIT_DONE
    here = device.rehearsal() if options.rehearse else device.look()
    folder = (options.out or OUT / ("gpu-rehearsal" if here.rehearse else "gpu")).absolute()
    make_folder("bench gpu --out", folder / "parts")
    _check_same(folder, here, again=options.again)
    deadline = time.monotonic() + 60 * options.minutes
    say = (lambda text: None) if options.json else (lambda text: print(text, flush=True))
    say(f"{here.count} x {here.name}, {here.memory_gib:.1f} GiB each; results in {folder}")
    for number, part in enumerate(wanted, 1):
        told = f"part {number} of {len(wanted)}  {part.name}"
        old = results.read(_path(folder, part))
        if old and old["verdict"] == results.PASSED and not options.again:
            say(f"{told}: passed on {old['date'][:16]}; --again runs it anew")
            continue
        limit = seconds_for(part, rehearse=here.rehearse, minutes=options.minutes)
        say(f"{told}: {part.shows} (at most {limit:.0f} s)")
        found = _part(part, here, folder, limit, deadline - time.monotonic())
        say(f"    {found['verdict']} after {duration(found['seconds'])}" + _why(found))
        _write(folder, here, options)  # so that an interrupted call leaves its results
    record = _write(folder, here, options)
    from slipway.bench.gpu.picture import draw

    draw(record, folder / "bench-gpu.png")
    print(json.dumps(record) if options.json else summary(record))
    say("written   " + ", ".join(str(folder / f"bench-gpu.{end}") for end in ("json", "md", "png")))
    names = [part.name for part in wanted]
    return exit_code([found["verdict"] for found in record["parts"] if found["part"] in names])


def _path(folder: Path, part: Part) -> Path:
    return folder / "parts" / f"{part.name}.json"


def _check_same(folder: Path, here: Here, *, again: bool) -> None:
    """Check that no result in the folder was found on other devices, or with other versions.

    again: remove such results; without it, raise UserError.
    """
    for part in PARTS:
        old = results.read(_path(folder, part))
        if old is None or old.get("device") == here.plain():
            continue
        if not again:
            other = old.get("device") or {}
            differs = [name for name, value in here.plain().items() if other.get(name) != value]
            raise UserError(
                "bench gpu --out",
                f"holds results of another machine or version ({', '.join(differs)} differ)",
                value=folder,
                use="another folder",
                do="replace them (--again)",
            )
        _path(folder, part).unlink()


def _part(part: Part, here: Here, folder: Path, limit: float, left: float) -> dict[str, Any]:
    """Run one part, or note why not; write and return its result."""
    started, found, trouble = time.monotonic(), None, None
    log = RunDir(folder).logs / f"{part.name}.log"
    if here.count < part.devices:
        verdict, trouble = results.LEFT_OUT, f"it needs {part.devices} devices, here is {here.count}"
    elif not begins(limit, left):
        verdict, trouble = (
            results.NOT_BEGUN,
            "this call's time is over; run the same command again to continue",
        )
    else:
        work, path = folder / "work" / part.name, folder / "work" / f"{part.name}.json"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        log.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        words = [part.name, json.dumps(here.plain()), str(path)]
        command = [sys.executable, "-m", "slipway.bench.gpu.child", *words]
        code = ended_in(command, min(limit, left), log, device.environment(), work)
        found = results.read(path)
        verdict = results.verdict(code, found, cut=left < limit)
        trouble = found and found["left_out"]
        if verdict in (results.PASSED, results.LEFT_OUT):
            shutil.rmtree(work, ignore_errors=True)
        elif code is None:
            trouble = f"ended after {min(limit, left):.0f} s"
        elif code:
            trouble = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])
    result = {
        "part": part.name,
        "shows": part.shows,
        "verdict": verdict,
        "trouble": trouble,
        "seconds": round(time.monotonic() - started, 1),
        "limit_s": limit,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": here.plain(),
        **(found or results.EMPTY),
    }
    files.write_whole(_path(folder, part), json.dumps(result, indent=1) + "\n")
    return result


def _why(found: dict[str, Any]) -> str:
    wrong = [check["what"] for check in found["checks"] if not check["passed"]]
    lines = [line for line in (found["trouble"] or "").splitlines() if line.strip()]
    told = ([f"failed: {', '.join(wrong)}"] if wrong else []) + lines[-1:]
    return f": {'; '.join(told)}" if told else ""


def _write(folder: Path, here: Here, options: argparse.Namespace) -> dict[str, Any]:
    """Write what all parts have found so far, as JSON and as a table; return the record."""
    every = [found for part in PARTS if (found := results.read(_path(folder, part)))]
    record = record_of(here, every, ["slipway", "bench", "gpu", *options.argv])
    files.write_whole(folder / "bench-gpu.json", json.dumps(record, indent=1) + "\n")
    files.write_whole(folder / "bench-gpu.md", markdown(record))
    return record


def exit_code(verdicts: Sequence[str]) -> int:
    """Return the exit code for the verdicts of the parts asked for.

    It tells of a fault, of parts left for the next call, or that all are done.
    """
    if results.BAD & set(verdicts):
        return EXIT_FAULT
    return EXIT_CONTINUE if results.OPEN & set(verdicts) else EXIT_DONE
