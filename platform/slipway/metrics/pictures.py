"""The pictures in a run's directory: what each validation has shown. Derived: nothing counts on them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from slipway import files
from slipway.metrics import png
from slipway.run_dir import RunDir

if TYPE_CHECKING:
    import numpy as np

_NAME = re.compile(r"step-(\d{8,})\.png")


class Shown(NamedTuple):
    """A picture on disk."""

    step: int
    path: Path

    def read(self) -> tuple[bytes, str]:
        """Return the file and its caption. Raises ValueError where it is damaged; OSError; Unreadable."""
        content = files.read(self.path) or b""
        return content, png.caption(content)


def path(run_dir: Path, step: int) -> Path:
    """Return the picture of a step."""
    return RunDir(run_dir).pictures / f"step-{step:08d}.png"


def write(run_dir: Path, step: int, pixels: "np.ndarray", caption: str) -> None:
    """Write the picture of a step, whole or not at all. Raises OSError."""
    files.make_folder(RunDir(run_dir).pictures)
    with files.whole(path(run_dir, step)) as beside:
        beside.write_bytes(png.encode(pixels, caption))


def found(run_dir: Path) -> list[Shown]:
    """Return all pictures, by step. Raises Unreadable where the folder cannot be listed."""
    folder = RunDir(run_dir).pictures
    matches = [(match, name) for name in files.names(folder) if (match := _NAME.fullmatch(name))]
    return sorted(Shown(int(match[1]), folder / name) for match, name in matches)
