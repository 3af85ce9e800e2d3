"""The files that wandb left in a run's directory: a folder for each segment. Imports neither torch nor wandb.

A folder holds run-ID.wandb, in a format of wandb's own. Beside it lie wandb's mark that it was uploaded, and the note
that slipway.metrics.wandb_process makes when the run has begun, and again when it has ended.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from slipway import files
from slipway.run_dir import RunDir

MARK = ".synced"
NOTE = ".slipway.json"
HEADER = 7  # bytes of an empty file


@dataclass(frozen=True)
class Stored:
    """The wandb file of one segment."""

    file: Path

    @property
    def folder(self) -> Path:
        """`offline-run-DATE-ID`, or `run-DATE-ID` if it was online."""
        return self.file.parent

    @property
    def online(self) -> bool:
        """Whether it was uploaded while it was written."""
        return not self.folder.name.startswith("offline-")

    @property
    def uploaded(self) -> bool:
        """Whether all of it is on the server: `wandb sync` leaves a mark, and so does training."""
        return self.file.with_name(self.file.name + MARK).exists()


@dataclass(frozen=True)
class Content:
    """A note of slipway.metrics.wandb_process about the wandb file that it had written."""

    ended: bool = False
    """False: it is being written, or its writer was killed."""
    count: int | None = None
    """Steps in it; None: not known, as its writer was killed."""
    first: int | None = None
    last: int | None = None


def stored(run_dir: Path) -> list[Stored]:
    """Return a run's wandb files in the order of their segments. Opens none of them, so it is quick."""
    found = RunDir(run_dir).wandb.glob("*run-*/run-*.wandb")
    return sorted((Stored(file) for file in found if file.stat().st_size > HEADER), key=_date)


def pending(run_dir: Path) -> list[Stored]:
    """Return the run's wandb files that are not, or not wholly, on the server."""
    return [one for one in stored(run_dir) if not one.uploaded]


def how_to_upload(name: str, run_dir: Path) -> str:
    """Return the command that uploads a run's data; it names the run if that is enough to find it, else its folder."""
    return f"slipway runs sync {name if run_dir == Path('runs', name) else run_dir}"


def note(file: Path, content: Content) -> None:
    """Write down, beside a wandb file, what is in it."""
    files.write_whole(_note_of(file), json.dumps(asdict(content)))


def read(file: Path) -> Content | None:
    """Return the note about a wandb file; None: its run never began, so that there is nothing to upload.

    Raises Unreadable.
    """
    content = files.read(_note_of(file))
    if content is None:
        return None
    try:
        return Content(**json.loads(content))
    except (ValueError, TypeError):
        return Content()


def _note_of(file: Path) -> Path:
    return file.with_name(file.name + NOTE)


def _date(one: Stored) -> tuple[str, str]:
    """Return the key that sorts by time: DATE_TIME in the folder's name, then the name."""
    return one.folder.name.removeprefix("offline-").split("-")[1], one.folder.name
