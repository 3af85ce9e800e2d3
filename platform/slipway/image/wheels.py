"""The directory of wheels for a build: the user's, or the one that pip is already configured to use."""

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from slipway import commands
from slipway.errors import UserError


def given(folder: Path) -> Path:
    """Return the directory given by --wheels. Raises UserError if it contains no wheels."""
    if not folder.is_dir() or not any(folder.glob("*.whl")):
        raise UserError(
            "image build --wheels",
            "is not a directory of wheels",
            value=folder,
            do="fill one as docs/image.md describes",
        )
    return folder.resolve()


def of_pip(root: Path) -> Path | None:
    """Return a local directory among pip's find-links that has torch for CPUs; None if none has.

    `make setup` uses it, too.
    """
    asked = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "get", "global.find-links"]
    done = commands.call(asked)
    return with_torch([] if done.code else done.output.split(), torch_version(root))


def torch_version(root: Path) -> str:
    """Return the version of torch built for CPU that the lock names."""
    lock = (root / "containers" / "lock" / "torch-cpu.txt").read_text()
    match = re.search(r"(?m)^torch==([^\s;\\]+)", lock)
    assert match, "torch-cpu.txt names no torch"
    return match[1]


def with_torch(links: list[str], version: str) -> Path | None:
    """Return the first of the links that is a local directory with this version of torch; None if none is."""
    for link in links:
        folder = Path(unquote(urlsplit(link).path)) if link.startswith("file:") else Path(link)
        if folder.is_dir() and any(folder.glob(f"torch-{version}-*.whl")):
            return folder.resolve()
    return None
