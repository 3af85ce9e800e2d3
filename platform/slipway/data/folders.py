"""The files below a folder, each of them once, and those that are left out."""

import fnmatch
import glob
import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from slipway.errors import UserError

ELSEWHERE = "read already under another name"


@dataclass
class Listing:
    """Paths relative to the folder."""

    files: list[str] = field(default_factory=list)  # in their order
    left_out: dict[str, str] = field(default_factory=dict)  # with the reason


def list_folder(
    folder: str, skipped: Collection[str], reason_against: Callable[[str], str], where: str, seen: set[str]
) -> Listing:
    """Return the files below a folder in the order of their paths, without hidden ones and `skipped` folders.

    Links are followed. A file or folder that several links lead to is listed once, by its own name if it has one below
    the folder. reason_against: returns why a file of this name is left out; empty if it is not. seen: real paths of
    what was read before, to which these are added. Raises UserError, naming `where`, for files that cannot be read and
    for links that lead nowhere.
    """
    found = Listing()
    seen.add(os.path.realpath(folder))
    links: list[str] = []
    folders = [("", os.path.realpath(folder))]

    def take(name: str, real: str, mode: int) -> None:
        if stat.S_ISDIR(mode):
            if os.path.basename(name) in skipped:
                return
            if real not in seen:
                folders.append((name, real))
        elif reason := reason_against(name):
            found.left_out[name] = reason
            return
        elif not stat.S_ISREG(mode):
            raise UserError(
                where, "is neither a file nor a directory", value=os.path.join(folder, name), do="remove it"
            )
        elif real not in seen:
            found.files.append(name)
        if real in seen:
            found.left_out[name] = ELSEWHERE
        seen.add(real)

    while folders or links:
        # what lies below the folder itself comes first, so that it keeps its own names
        if not folders:
            link = links.pop(0)
            path = os.path.join(folder, link)
            take(link, os.path.realpath(path), state_of(path, where).st_mode)
            continue
        name, real = folders.pop()
        for entry in entries(os.path.join(folder, name) if name else folder, where):
            if entry.name.startswith("."):
                continue
            inner = os.path.join(name, entry.name)
            if entry.is_symlink():
                links.append(inner)
            else:
                take(inner, os.path.join(real, entry.name), state_of(entry.path, where).st_mode)
        links.sort()
    found.files.sort()
    return found


def match(pattern: str, where: str) -> list[str]:
    """Return the files and folders that match a pattern, in order; `**` matches any folders.

    Hidden ones match only a part of the pattern that begins with a dot. The contents of a folder that matches are not
    listed beside it. Raises UserError if a folder cannot be read.
    """
    found = [os.sep if os.path.isabs(pattern) else ""]
    for part in filter(None, pattern.split(os.sep)):
        found = [path for folder in found for path in _inside(folder, part, where)]
    paths = sorted(set(found))
    folders = {path for path in paths if os.path.isdir(path)}
    return [path for path in paths if folders.isdisjoint(map(str, Path(path).parents))]


def _inside(folder: str, part: str, where: str) -> list[str]:
    """Return the paths in a folder that match one part of a pattern."""
    if folder and not os.path.isdir(folder):
        return []
    if part == "**":
        return _folders(folder, where)
    if not glob.has_magic(part):
        path = os.path.join(folder, part)
        return [path] if os.path.lexists(path) else []
    names = [entry.name for entry in entries(folder or os.curdir, where)]
    return [
        os.path.join(folder, name)
        for name in names
        if fnmatch.fnmatchcase(name, part) and name.startswith(".") <= part.startswith(".")
    ]


def _folders(folder: str, where: str) -> list[str]:
    """Return a folder and all folders below it, each of them once, without hidden ones."""
    found: list[str] = []
    seen: set[str] = set()
    left, links = [folder], []
    while left or links:
        path = left.pop() if left else links.pop()
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        found.append(path)
        for entry in entries(path or os.curdir, where):
            inner = os.path.join(path, entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                links += [inner] if _is_folder(inner, where) else []
            elif entry.is_dir():
                left.append(inner)
        links.sort(reverse=True)
    return found


def _is_folder(link: str, where: str) -> bool:
    return os.path.lexists(os.path.realpath(link)) and stat.S_ISDIR(state_of(link, where).st_mode)


def entries(path: str, where: str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder. Raises UserError if it cannot be read."""
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(
            where,
            f"is a directory that cannot be read: {error.strerror}",
            value=path,
            do="make it readable, or name other files",
        ) from error


def state_of(path: str, where: str) -> os.stat_result:
    """Return the state of a file or folder, or of what a link leads to. Raises UserError if it cannot be read."""
    try:
        return os.stat(path)
    except OSError as error:
        if not os.path.islink(path):
            raise UserError(
                where,
                f"cannot be read: {error.strerror}",
                value=path,
                do="make it readable, or name other files",
            ) from error
        raise UserError(
            where,
            f"is a broken link ({os.readlink(path)}: {error.strerror})",
            value=path,
            do="repair it, or remove it",
        ) from error
