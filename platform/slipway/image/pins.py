"""The pins of a checkout that concern images: bases, Python versions, and the versions in the lock files."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.config.explain import nearest
from slipway.errors import UserError

NOTABLE = ("torch", "megatron-core", "numpy")


@dataclass(frozen=True)
class Variant:
    """One variant of the image: its base and its main packages."""

    name: str
    base: str
    python: str
    versions: dict[str, str]
    """Versions of the packages that decide results; torch is the base's own if the lock has none."""


def checkout(folder: Path | None) -> Path:
    """Return the source tree that images are built from: the folder given, this one, or that of an editable install.

    Raises UserError if there is no Dockerfile or apptainer.def in it.
    """
    own = Path(__file__).resolve().parents[3]
    for candidate in [folder] if folder else [Path.cwd(), own]:
        if (candidate / "Dockerfile").is_file() and (candidate / "apptainer.def").is_file():
            return candidate.resolve()
    where = f"--context {folder}" if folder else "here"
    raise UserError(
        "image", f"found no Dockerfile and apptainer.def {where}", use="a checkout of Slipway (--context DIR)"
    )


def variant(root: Path, name: str) -> Variant:
    """Return the pins of a variant. Raises UserError if no variant has this name."""
    known = _project(root)["tool"]["slipway"]["image"]["variants"]
    if name not in known:
        raise UserError(f"image --variant {name}", "no such variant", do=nearest(name, known))
    return Variant(name, known[name]["base"], known[name]["python"], _versions(root, name))


def _project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def _versions(root: Path, name: str) -> dict[str, str]:
    locks = [root / "containers" / "lock" / f"image-{name}.txt"]
    if name == "cpu":
        locks.append(root / "containers" / "lock" / "torch-cpu.txt")
    found: dict[str, str] = {}
    for lock in locks:
        found |= dict(re.findall(r"(?m)^([a-z0-9-]+)==([^\s;\\]+)", lock.read_text()))
    return {package: found[package] for package in NOTABLE if package in found}


def slipway_version(root: Path) -> str:
    """Return the version of Slipway in the checkout."""
    source = (root / "platform" / "slipway" / "__init__.py").read_text()
    match = re.search(r'__version__ = "([^"]+)"', source)
    assert match, "slipway/__init__.py has no __version__"
    return match[1]
