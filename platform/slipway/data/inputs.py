"""The input files of a source: which were found, which are left out, and whether they are still the same."""

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from slipway.data.folders import match
from slipway.errors import UserError


@dataclass(frozen=True)
class FoundFile:
    """A file as it was when it was found."""

    path: str
    name: str  # as in the fingerprint: does not depend on where the folder lies
    size: int  # bytes on disk
    mtime_ns: int  # 0: the time means nothing, as for files that only an image's build dates


@dataclass(frozen=True)
class LeftOut:
    """A file that was found and is not read."""

    path: str
    reason: str


def expand(entry: str, where: str) -> list[str]:
    """Return the files and folders that an entry of `inputs` names. Raises UserError if a pattern matches none."""
    path = os.path.expanduser(entry)
    if os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    if not (matches := match(path, where)):
        raise UserError(
            where, f"matches nothing (relative to {Path.cwd()})", value=entry, do="correct the pattern"
        )
    return matches


def fingerprint(files: Iterable[FoundFile]) -> str:
    """Return the SHA-256 of the files' names, sizes and times of change, in their order."""
    digest = sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.size}\0{file.mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


class InputRecord(Protocol):
    """A manifest's record of the files that a source was prepared from."""

    files: int
    input_bytes: int
    input_sha256: str


def changed(
    source: str, find: Callable[[], Sequence[FoundFile]], record: InputRecord, folder: Path
) -> UserError | None:
    """Return an error if a source's files are not those that the folder was prepared from, else None.

    find: returns the files; a UserError that it raises is returned.
    """
    try:
        files = find()
    except UserError as error:
        return error
    if fingerprint(files) == record.input_sha256:
        return None
    return UserError(
        f"data.sources.{source}.inputs",
        f"files were changed, renamed or rewritten since {folder} was "
        f"prepared ({record.files} files of {record.input_bytes} bytes then, {len(files)} of "
        f"{sum(file.size for file in files)} now)",
        do="put the files back, or remove that folder and run `slipway data` again",
    )


def is_there(entry: str) -> bool:
    """Return whether an entry names an existing file or folder, or is a pattern."""
    path = os.path.expanduser(entry)
    return os.path.exists(path) or glob.has_magic(path)


def check_unchanged(file: FoundFile) -> None:
    """Raise UserError if a file is no longer what it was when it was found."""
    try:
        state = os.stat(file.path)
    except OSError as error:
        raise UserError(
            file.path, f"can no longer be read: {error.strerror}", do="run the same command again"
        ) from error
    if state.st_size != file.size or file.mtime_ns not in (0, state.st_mtime_ns):
        raise UserError(
            file.path,
            f"was changed while it was being read: it had {file.size} bytes and now has {state.st_size}",
            do="run the same command again once nothing writes to it",
        )


def describe(left_out: Sequence[LeftOut], most: int = 3) -> str:
    """Return which files are left out and why: how many for each reason, and up to `most` of their paths."""
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(one.path)
    return "; ".join(
        f"{len(paths):,} {reason} ({', '.join(paths[:most])}{', ...' if len(paths) > most else ''})"
        for reason, paths in by_reason.items()
    )
