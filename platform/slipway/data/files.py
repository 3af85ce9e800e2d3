"""Prepared files: what is recorded of them, and whether they are still those that were prepared."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from slipway.errors import Fault, UserError

ADVICE = "the last checkpoint is good: put the file back and start the same command again"
"""What to do if a file has changed while training read it."""


class FileRecord(BaseModel):
    """A prepared file's size and SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class DataChanged(Fault):
    """A file is no longer what it was when it was opened."""


def checksum(path: Path) -> str:
    """Return a file's SHA-256, in hexadecimal."""
    from hashlib import file_digest

    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def record_of(path: Path) -> FileRecord:
    """Return the record of a file, of which all is read."""
    return FileRecord(bytes=path.stat().st_size, sha256=checksum(path))


def signature(files: Mapping[Path, FileRecord]) -> list[list[int]]:
    """Return each file's size in bytes and the time of its last change in ns, without reading it."""
    return [[status.st_size, status.st_mtime_ns] for status in (path.stat() for path in files)]


def verify(
    source: str,
    files: Mapping[Path, FileRecord],
    before: Any,
    now: Sequence[Sequence[int]],
) -> None:
    """Compare files of a source with their checksums if their signature is not what it was before.

    before: the signature at the last start; None for a source that was not drawn from then, which is accepted as it is.
    Raises UserError for a file that is not the one that was prepared.
    """
    if before is not None and len(before) != len(now):
        before = [[]] * len(now)  # other files than before: compare them all
    for (path, expected), old, new in zip(files.items(), before or now, now, strict=True):
        if list(old) == list(new):
            continue
        print(
            f"data.sources.{source}: {path} was written or copied since the last checkpoint; comparing its "
            f"{expected.bytes} bytes with their checksum",
            flush=True,
        )
        digest = checksum(path)
        if digest != expected.sha256:
            raise UserError(
                f"data.sources.{source}",
                f"has changed since it was prepared: its SHA-256 is {digest[:12]}..., but {expected.sha256[:12]}... "
                "in its manifest",
                value=path,
                do=f"restore the file, or remove {path.parent} and run `slipway data`",
            )


def describe(size: int, modified_ns: int) -> str:
    """Return a file's size and time of change, which tell two states of it apart, for people."""
    seconds, nanoseconds = divmod(modified_ns, 10**9)
    return f"{size} bytes of {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09} UTC"
