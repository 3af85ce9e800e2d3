"""Results of `slipway evaluate` in a run's directory: evaluation/NAME-step-NNNNNNNN.json. Derived."""

from pathlib import Path

from pydantic import ValidationError

from slipway import files
from slipway.models.evaluation import Result
from slipway.records import first_problem
from slipway.run_dir import RunDir


def path(run_dir: Path, result: Result) -> Path:
    """Return the file of a result."""
    return RunDir(run_dir).evaluations / f"{result.name}-step-{result.step:08d}.json"


def write(run_dir: Path, result: Result) -> Path:
    """Write a result and return its file, replacing an earlier one of the same evaluation and step. Raises OSError."""
    file = path(run_dir, result)
    files.make_folder(file.parent)
    files.write_whole(file, result.model_dump_json(indent=1) + "\n")
    return file


def found(run_dir: Path) -> tuple[list[Result], list[str]]:
    """Return all results, sorted by name and step, and a line for each file that holds none. Raises Unreadable."""
    folder, results, problems = RunDir(run_dir).evaluations, [], []
    for name in files.names(folder):
        if not name.endswith(".json") or name.startswith("."):
            continue
        try:
            results.append(Result.model_validate_json(files.read(folder / name) or b""))
        except ValidationError as error:
            problems.append(f"{folder / name}: {first_problem(error)}; left out")
    return sorted(results, key=lambda one: (one.name, one.step)), problems
