"""The pictures of validations in a run's directory. Derived: nothing counts on them."""

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
        """Return the file and its caption.

        Raises ValueError if it is damaged, OSError or Unreadable if it cannot be read.
        """
        content = files.read(self.path) or b""
        return content, png.caption(content)


def path(run_dir: Path, step: int) -> Path:
    """Return the file of a step's picture."""
    return RunDir(run_dir).pictures / f"step-{step:08d}.png"


def write(run_dir: Path, step: int, pixels: "np.ndarray", caption: str) -> None:
    """Write the picture of a step, whole or not at all.

    pixels: uint8 [height, width, 3] (red, green, blue). Raises OSError.
    """
    files.make_folder(RunDir(run_dir).pictures)
    with files.whole(path(run_dir, step)) as beside:
        beside.write_bytes(png.encode(pixels, caption))


def found(run_dir: Path) -> list[Shown]:
    """Return all pictures, sorted by step. Raises Unreadable if the folder cannot be listed."""
    folder = RunDir(run_dir).pictures
    matches = [(match, name) for name in files.names(folder) if (match := _NAME.fullmatch(name))]
    return sorted(Shown(int(match[1]), folder / name) for match, name in matches)
