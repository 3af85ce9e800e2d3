"""imported.json in a run's directory: whose weights it began with, kept when the checkpoint of step 0 is gone."""

from pathlib import Path

from pydantic import ValidationError

from slipway import files
from slipway.checkpoint.store import Imported
from slipway.run_dir import RunDir


def keep(run_dir: Path, imported: Imported) -> None:
    """Write it, whole or not at all."""
    files.write_whole(RunDir(run_dir).imported, imported.model_dump_json(indent=1) + "\n")


def origin_of(run_dir: Path) -> Imported | None:
    """Return whose weights the run began with; None where it began with its own, or the file is none."""
    try:
        return Imported.model_validate_json(files.read(RunDir(run_dir).imported) or b"")
    except ValidationError:
        return None
