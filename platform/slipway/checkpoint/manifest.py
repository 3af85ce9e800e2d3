"""The manifest of a checkpoint: every file with its size and checksum. Imports no torch."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from slipway import files
from slipway.records import first_problem

FILE = "manifest.json"
_NAME = r"^([^./\x00]|\.[^./\x00]|\.\.[^/\x00])[^/\x00]*$"  # a file in the folder itself: neither . nor ..
_THREADS = 8  # hashing is mostly waiting for the file system, and leaves Python's lock

T = TypeVar("T")


class Damaged(Exception):
    """A checkpoint that must not be read: names the file and what is wrong with it.

    Only wrong content and a missing file are damage. A file that cannot be read now is files.Unreadable.
    """


class Entry(BaseModel):
    """One file: bytes, and SHA-256 in hexadecimal digits."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: NonNegativeInt
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The files that must be in the checkpoint's folder, by name; the manifest itself is not among them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    files: dict[Annotated[str, Field(pattern=_NAME)], Entry]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())

    def text(self) -> str:
        """Return the one text in which this manifest is written; a file with any other text is damaged."""
        return self.model_dump_json(indent=1) + "\n"


def make(folder: Path, known: Mapping[str, Entry] | None = None) -> Manifest:
    """Return the manifest of all files in `folder`.

    known: entries of files that the ranks that wrote them have hashed already.
    """
    known = known or {}
    others = [path for path in folder.iterdir() if path.name != FILE and path.name not in known]
    return Manifest(files=dict(sorted({**known, **entries(others)}.items())))


def entries(paths: Iterable[Path]) -> dict[str, Entry]:
    """Return the entries of files by name, from their content as the file system gives it back."""
    paths = list(paths)
    with ThreadPoolExecutor(_THREADS) as pool:
        sums = list(pool.map(_sha256, paths))
    return {
        path.name: Entry(size=path.stat().st_size, sha256=sha) for path, sha in zip(paths, sums, strict=True)
    }


def read(folder: Path) -> Manifest:
    """Return the manifest in `folder`. Raises Damaged if it is missing or not as it was written."""
    content = look(folder / FILE, (folder / FILE).read_bytes)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise Damaged(f"{FILE}: {first_problem(error)}") from None
    if manifest.text().encode() != content:
        raise Damaged(f"{FILE}: not as it was written")
    return manifest


def look(path: Path, call: Callable[[], T]) -> T:
    """Return call(), which reads a checkpoint's file.

    Raises Damaged if the file is missing, Unreadable if not now readable.
    """
    try:
        return files.patiently(call, path)
    except files.ABSENT:
        raise Damaged(f"{path.name}: {os.strerror(errno.ENOENT)}") from None
    except files.Unreadable as error:
        if isinstance(error.__cause__, IsADirectoryError):
            raise Damaged(f"{path.name}: is not a file") from None
        raise


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Raise Damaged if a file is missing or has another size; reads no content."""
    for name, entry in manifest.files.items():
        found = look(folder / name, (folder / name).stat)
        if not stat.S_ISREG(found.st_mode):
            raise Damaged(f"{name}: is not a file")
        if found.st_size != entry.size:
            raise Damaged(f"{name}: {entry.size} bytes expected, {found.st_size} found")


def check_content(folder: Path, manifest: Manifest) -> None:
    """Raise Damaged if a file's content is not what the manifest states; reads all of it."""
    with ThreadPoolExecutor(_THREADS) as pool:
        sums = pool.map(lambda name: look(folder / name, lambda: _sha256(folder / name)), manifest.files)
        for (name, entry), found in zip(manifest.files.items(), sums, strict=True):
            if found != entry.sha256:
                raise Damaged(f"{name}: SHA-256 {entry.sha256} expected, {found} found")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
