"""Which files a source consists of, in the order of their documents."""

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from slipway.config.schema import Source
from slipway.errors import UserError

Kind = Literal["text", "jsonl", "parquet"]
Compression = Literal["", "gz", "zst"]

JSONL_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet", ".pq")
COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".zst": "zst", ".zstd": "zst"}
# fmt: off
TEXT_SUFFIXES = (
    ".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex", ".csv", ".tsv", ".log",
    ".html", ".htm", ".xml", ".css", ".yaml", ".yml", ".toml", ".ini", ".cfg",
    ".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".cu", ".cuh", ".cs", ".java", ".kt", ".scala",
    ".js", ".mjs", ".ts", ".jsx", ".tsx", ".go", ".rs", ".rb", ".php", ".pl", ".lua", ".r", ".jl", ".m",
    ".f", ".f90", ".f95", ".swift", ".hs", ".ml", ".sh", ".sql", ".cmake", ".proto",
)
# fmt: on

STDLIB = "stdlib"
_NOT_STDLIB = ("site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test")


@dataclass(frozen=True)
class InputFile:
    """One file of a source."""

    path: str
    name: str  # as in the manifest's checksum of the inputs: does not depend on where the folder lies
    kind: Kind
    compression: Compression
    size: int  # bytes on disk
    mtime_ns: int  # 0: of the standard library, which nobody edits and every image dates anew


def find_inputs(source_name: str, source: Source) -> list[InputFile]:
    """The files of a source. Raises UserError for what is missing, empty or of no readable type."""
    found: list[InputFile] = []
    for i, entry in enumerate(source.inputs):
        where = f"data.sources.{source_name}.inputs[{i}]"
        if entry == STDLIB:
            found += _stdlib(where)
            continue
        path = Path(entry).expanduser()
        if path.is_dir():
            found += _folder(path, where)
        elif path.is_file():
            kind, compression = _type(path.name) or ("text", _compression(path.name))
            found.append(_file(str(path), path.name, kind, compression, where))
        elif path.exists():
            raise UserError(f"{where}: {entry} is neither a file nor a folder")
        else:
            raise UserError(f"{where}: {entry}: no such file or folder (from {Path.cwd()})")
    if sum(file.size for file in found) == 0:
        raise UserError(f"data.sources.{source_name}.inputs: all {len(found)} files are empty: no documents")
    return found


def fingerprint(files: list[InputFile]) -> str:
    """Checksum of the files' names, sizes and times of change, in their order."""
    digest = sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.size}\0{file.mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _folder(folder: Path, where: str) -> list[InputFile]:
    names = sorted(_walk(folder, ("__pycache__",)))
    if not names:
        raise UserError(f"{where}: {folder} holds no files")
    files = []
    for name in names:
        found = _type(os.path.basename(name))
        if found:
            files.append(_file(os.path.join(folder, name), name, *found, where))
    if not files:
        types = sorted({os.path.splitext(name)[1] or "(none)" for name in names})
        raise UserError(
            f"{where}: {folder} holds {len(names)} files and none of a readable type (found {_some(types)}; "
            "readable: text such as .txt .md .py, .jsonl, .parquet, also .gz and .zst; name a file itself to "
            "read it as text)"
        )
    return files


def _stdlib(where: str) -> list[InputFile]:
    """The running Python's standard library without its tests, which are not all UTF-8.

    In the order of a checksum of their names: the splits are stretches of the documents, and each shall be a
    fair sample of the library.
    """
    folder = sysconfig.get_path("stdlib")
    names = [
        name
        for name in _walk(Path(folder), _NOT_STDLIB)
        if name.endswith(".py") and not os.path.basename(name).startswith("_sysconfigdata")
    ]
    if not names:
        raise UserError(f"{where}: {folder} holds no .py files: this Python lacks its library's source")
    names.sort(key=lambda name: sha256(name.encode()).digest())
    files = [_file(os.path.join(folder, name), name, "text", "", where) for name in names]
    return [replace(file, mtime_ns=0) for file in files]


def _walk(folder: Path, skipped: tuple[str, ...]) -> Iterator[str]:
    """Files below a folder, relative to it; nothing hidden, nothing in `skipped` folders."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in skipped]
        for name in names:
            if not name.startswith(".") and os.path.isfile(os.path.join(root, name)):
                yield os.path.relpath(os.path.join(root, name), folder)


def _type(name: str) -> tuple[Kind, Compression] | None:
    compression = _compression(name)
    suffix = os.path.splitext(os.path.splitext(name)[0] if compression else name)[1].lower()
    if suffix in JSONL_SUFFIXES:
        return "jsonl", compression
    if suffix in PARQUET_SUFFIXES and not compression:
        return "parquet", ""
    if suffix in TEXT_SUFFIXES:
        return "text", compression
    return None


def _compression(name: str) -> Compression:
    return COMPRESSIONS.get(os.path.splitext(name)[1].lower(), "")


def _file(path: str, name: str, kind: Kind, compression: Compression, where: str) -> InputFile:
    if not os.access(path, os.R_OK):
        raise UserError(f"{where}: {path} is not readable")
    state = os.stat(path)
    return InputFile(os.path.abspath(path), name, kind, compression, state.st_size, state.st_mtime_ns)


def _some(items: list[str], most: int = 8) -> str:
    return " ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
