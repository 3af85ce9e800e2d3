"""A folder of wheels for a build: named by the user, or the one that pip's set-up already points to."""

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway import commands
from slipway.errors import UserError


def given(folder: Path) -> Path:
    """Return the folder of --wheels. Raises UserError where it holds none."""
    if not folder.is_dir() or not any(folder.glob("*.whl")):
        raise UserError(
            "image build --wheels",
            "is not a directory of wheels",
            value=folder,
            do="see docs/image.md for how to fill one",
        )
    return folder.resolve()


def of_pip(root: Path) -> Path | None:
    """Return a local folder among pip's find-links that has the build of torch for CPU, as `make setup` takes it."""
    asked = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "get", "global.find-links"]
    done = commands.call(asked)
    return with_torch([] if done.code else done.output.split(), torch_version(root))


def torch_version(root: Path) -> str:
    """Return the version of the build for CPU that the lock names."""
    lock = (root / "containers" / "lock" / "torch-cpu.txt").read_text()
    match = re.search(r"(?m)^torch==([^\s;\\]+)", lock)
    assert match, "torch-cpu.txt names no torch"
    return match[1]


def with_torch(links: list[str], version: str) -> Path | None:
    """Return the first of the links that is a local folder with this version of torch."""
    for link in links:
        folder = Path(unquote(urlsplit(link).path)) if link.startswith("file:") else Path(link)
        if folder.is_dir() and any(folder.glob(f"torch-{version}-*.whl")):
            return folder.resolve()
    return None
