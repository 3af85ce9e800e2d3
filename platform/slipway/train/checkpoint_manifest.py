"""The manifest of a checkpoint: every file with its size and checksum. Imports no torch."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

FILE = "manifest.json"
_THREADS = 8  # hashing is mostly waiting for the file system, and leaves Python's lock


class Damaged(Exception):
    """A checkpoint that must not be read: names the file and what is wrong with it."""


class Entry(BaseModel):
    """One file: bytes, and SHA-256 in hexadecimal digits."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: NonNegativeInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What must be in the checkpoint's folder, by name; the manifest itself is not in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    files: dict[Annotated[str, Field(pattern=r"^[^/\x00]+$")], Entry]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())

    def text(self) -> str:
        """The one way in which a manifest is written; any other text is a damaged one."""
        return self.model_dump_json(indent=1) + "\n"


def make(folder: Path, known: Mapping[str, Entry] | None = None) -> Manifest:
    """The manifest of all files in `folder`; those in `known` have been hashed by the ranks that wrote them."""
    known = known or {}
    others = [path for path in folder.iterdir() if path.name != FILE and path.name not in known]
    return Manifest(files=dict(sorted({**known, **entries(others)}.items())))


def entries(paths: Iterable[Path]) -> dict[str, Entry]:
    """Of files, read back from the file system, by name."""
    paths = list(paths)
    with ThreadPoolExecutor(_THREADS) as pool:
        sums = list(pool.map(_sha256, paths))
    return {
        path.name: Entry(size=path.stat().st_size, sha256=sha) for path, sha in zip(paths, sums, strict=True)
    }


def read(folder: Path) -> Manifest:
    """Raises Damaged where the manifest is missing or not as it was written."""
    try:
        content = (folder / FILE).read_bytes()
    except OSError as error:
        raise Damaged(f"{FILE}: {error.strerror}") from None
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Damaged(f"{FILE}: {where + ': ' if where else ''}{first['msg']}") from None
    if manifest.text().encode() != content:
        raise Damaged(f"{FILE}: not as it was written")
    return manifest


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Raises Damaged where a file is missing or has another size; reads no content."""
    for name, entry in manifest.files.items():
        try:
            found = os.stat(folder / name).st_size
        except OSError as error:
            raise Damaged(f"{name}: {error.strerror}") from None
        if found != entry.size:
            raise Damaged(f"{name}: {entry.size} bytes expected, {found} found")


def check_content(folder: Path, manifest: Manifest) -> None:
    """Raises Damaged where a file is not what the manifest says; reads all of it."""
    with ThreadPoolExecutor(_THREADS) as pool:
        sums = pool.map(_sha256_or_error, [folder / name for name in manifest.files])
        for (name, entry), found in zip(manifest.files.items(), sums, strict=True):
            if isinstance(found, OSError):
                raise Damaged(f"{name}: {found.strerror}")
            if found != entry.sha256:
                raise Damaged(f"{name}: SHA-256 {entry.sha256} expected, {found} found")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_or_error(path: Path) -> str | OSError:
    try:
        return _sha256(path)
    except OSError as error:
        return error
