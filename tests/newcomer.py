"""The machine of somebody who has just cloned the repository and begins with a page of docs/start.

    home, environment = newcomer(tmp_path)
    Page("docs/start/laptop.md").follow(home, environment)

The clone is the folder `slipway` in an otherwise empty home, with the tracked files as they are in this working tree.
Its .venv links to what this checkout's holds, so that `make setup` finds it done and never changes the real one; the
code that runs is the clone's own.
"""

import os
import shutil
import subprocess
from pathlib import Path

from console_blocks import ROOT


def newcomer(folder: Path) -> tuple[Path, dict[str, str]]:
    """Make a home with a clone in it; return it, and the environment of a shell that has just been opened there."""
    home = folder / "home"
    clone = home / "slipway"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():  # what is deleted and not yet committed is listed, too
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    (clone / ".venv").mkdir()
    for entry in (ROOT / ".venv").iterdir():
        if entry.name != ".installed":
            (clone / ".venv" / entry.name).symlink_to(entry)
    (clone / ".venv" / ".installed").touch()  # newer than the locks, whatever has been edited here since
    return home, {
        "HOME": str(home),
        "USER": "you",
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        "PYTHONPATH": str(clone / "platform"),  # before what .venv has from this checkout
    }
