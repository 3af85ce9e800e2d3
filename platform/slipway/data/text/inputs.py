"""The files that a source consists of, in the order of their documents."""

import os
import stat
import sysconfig
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from slipway.data.folders import ELSEWHERE, list_folder, state_of
from slipway.data.inputs import FoundFile, LeftOut, expand
from slipway.data.text.file_types import (
    KINDS,
    NEEDS,
    Compression,
    Kind,
    compression,
    endings,
    holds_text,
    packed,
    readable,
    suffix,
)
from slipway.errors import UserError

STDLIB = "stdlib"
_NOT_STDLIB = ("site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test")
_EMPTY = "empty"


@dataclass(frozen=True)
class InputFile(FoundFile):
    """One file of a source, and how its documents are read. Files of the standard library have no time."""

    kind: Kind
    compression: Compression


class HasInputs(Protocol):
    """A source of any kind of data whose inputs are files."""

    @property
    def inputs(self) -> list[str]:
        """Files, folders and patterns."""
        ...


def find_inputs(source_name: str, source: HasInputs, kinds: Collection[Kind] = KINDS) -> list[InputFile]:
    """Return the files of a source. Raises UserError if one is missing, empty or of no readable type."""
    return survey(source_name, source, kinds)[0]


def survey(
    source_name: str, source: HasInputs, kinds: Collection[Kind] = KINDS
) -> tuple[list[InputFile], list[LeftOut]]:
    """Return the files of a source, and those of its folders that are left out. Raises UserError as find_inputs does.

    kinds: the kinds of files that are read.
    """
    found: list[InputFile] = []
    left_out: list[LeftOut] = []
    for i, entry in enumerate(source.inputs):
        where = f"data.sources.{source_name}.inputs[{i}]"
        if entry == STDLIB and "text" in kinds:
            found += _stdlib(where)
            continue
        seen: set[str] = set()  # of this entry: one that is given twice is read twice
        for path in expand(entry, where):
            if os.path.realpath(path) in seen:
                left_out.append(LeftOut(path, ELSEWHERE))
            elif os.path.isdir(path):
                files, others = _folder(path, where, seen, kinds)
                found += files
                left_out += others
            else:
                found.append(_named(path, where, kinds))
                seen.add(os.path.realpath(path))
    if sum(file.size for file in found) == 0:
        raise UserError(
            f"data.sources.{source_name}.inputs",
            f"all {len(found)} files are empty, so there are no documents",
            do="name files with text",
        )
    return found, left_out + [LeftOut(file.path, _EMPTY) for file in found if not file.size]


def places(entries: list[str]) -> list[str]:
    """Return the paths of the entries of `inputs`, the same for each spelling. They need not exist."""
    return [entry if entry == STDLIB else os.path.realpath(os.path.expanduser(entry)) for entry in entries]


def _named(path: str, where: str, kinds: Collection[Kind]) -> InputFile:
    name = os.path.basename(path)
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            where, f"does not exist (relative to {Path.cwd()})", value=path, do="correct the path"
        ) from None
    except OSError:
        pass  # state_of says what it is
    if not stat.S_ISREG(state_of(path, where).st_mode):
        raise UserError(
            where, "is neither a file nor a directory", value=path, do="name a file or a directory"
        )
    if ending := packed(name):
        raise _cannot_unpack(path, ending, where)
    kind, packing = readable(name) or ("text", compression(name))
    if kind not in kinds:
        raise UserError(where, "has a type that cannot be read here", value=path, use=endings(kinds))
    # a link has its own type, and the identity of what it leads to
    return _file(path, os.path.basename(os.path.realpath(path)), kind, packing, where)


def _folder(
    folder: str, where: str, seen: set[str], kinds: Collection[Kind]
) -> tuple[list[InputFile], list[LeftOut]]:
    def reason_against(name: str) -> str:
        kind = readable(name)
        return "" if kind and kind[0] in kinds else f"of type {suffix(name) or '(none)'}"

    found = list_folder(folder, ("__pycache__",), reason_against, where, seen)
    for name in found.left_out:
        if holds_text(name):
            raise _cannot_unpack(os.path.join(folder, name), packed(name), where)
    if not found.files and not found.left_out:
        raise UserError(where, "contains no files", value=folder, do="name another directory")
    if not found.files:
        types = sorted({suffix(name) or "(none)" for name in found.left_out})
        raise UserError(
            where,
            f"contains {len(found.left_out)} files and none of a readable type (found {_some(types)}; readable: "
            f"{endings(kinds)})",
            value=folder,
            do="name a file itself to read it as text" if "text" in kinds else "",
        )
    files = []
    for name in found.files:
        kind, packing = readable(name) or ("text", "")
        files.append(_file(os.path.join(folder, name), name, kind, packing, where))
    return files, [LeftOut(os.path.join(folder, name), why) for name, why in sorted(found.left_out.items())]


def _stdlib(where: str) -> list[InputFile]:
    """Return the running Python's standard library without its tests, which are not all UTF-8.

    In the order of a checksum of their names: the splits are stretches of the documents, and each shall be a
    fair sample of the library.
    """
    folder = sysconfig.get_path("stdlib")
    names = [
        name
        for name in _walk(folder)
        if name.endswith(".py") and not os.path.basename(name).startswith("_sysconfigdata")
    ]
    if not names:
        raise UserError(
            where,
            "contains no .py files: this Python comes without the source of its library",
            value=folder,
            do="choose another data=...",
        )
    names.sort(key=lambda name: sha256(name.encode()).digest())
    files = [_file(os.path.join(folder, name), name, "text", "", where) for name in names]
    return [replace(file, mtime_ns=0) for file in files]


def _walk(folder: str) -> Iterator[str]:
    """Yield the library's files, without links, which a system adds and which may lead nowhere."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _NOT_STDLIB]
        for name in names:
            path = os.path.join(root, name)
            if not name.startswith(".") and os.path.isfile(path):
                yield os.path.relpath(path, folder)


def _file(path: str, name: str, kind: Kind, packing: Compression, where: str) -> InputFile:
    if not os.access(path, os.R_OK):
        raise UserError(
            where, "is not readable", value=path, do="ask its owner for permission, or name other files"
        )
    state = state_of(path, where)
    if not state.st_size and (packing or kind == "parquet"):
        raise UserError(
            where,
            f"is empty, which no {suffix(name)} file can be",
            value=path,
            do="check whether it was copied completely",
        )
    for package in filter(None, (NEEDS.get(kind), NEEDS.get(packing))):
        if not find_spec(package):
            raise UserError(
                where,
                f"needs {package}, which is not installed here",
                value=path,
                use="text or .jsonl, or .gz of either",
            )
    return InputFile(os.path.abspath(path), name, state.st_size, state.st_mtime_ns, kind, packing)


def _cannot_unpack(path: str, ending: str, where: str) -> UserError:
    return UserError(
        where,
        f"ends in {ending}, which cannot be unpacked here",
        value=path,
        use="text, .jsonl (each also as .gz or .zst) or .parquet",
    )


def _some(items: list[str], most: int = 8) -> str:
    return " ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
