"""imported.json in a run directory: the origin of the run's first weights.

It outlives the checkpoint of step 0, which also names the origin.
"""

from pathlib import Path

from pydantic import ValidationError

from slipway import files
from slipway.checkpoint.store import Imported
from slipway.run_dir import RunDir


def keep(run_dir: Path, imported: Imported) -> None:
    """Write the origin, whole or not at all."""
    files.write_whole(RunDir(run_dir).imported, imported.model_dump_json(indent=1) + "\n")


def origin_of(run_dir: Path) -> Imported | None:
    """Return the origin of the run's first weights; None if they were its own, or imported.json is not valid."""
    try:
        return Imported.model_validate_json(files.read(RunDir(run_dir).imported) or b"")
    except ValidationError:
        return None
