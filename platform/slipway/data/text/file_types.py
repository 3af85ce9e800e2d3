"""The kind and compression of a file, by its name."""

import os
from collections.abc import Collection
from typing import Literal

Kind = Literal["text", "jsonl", "parquet"]
KINDS: tuple[Kind, ...] = ("text", "jsonl", "parquet")
Compression = Literal["", "gz", "zst"]

JSONL_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet", ".pq")
COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".zst": "zst", ".zstd": "zst"}
NEEDS: dict[str, str] = {"parquet": "pyarrow", "zst": "zstandard"}
"""The packages that read a kind or a compression: Slipway's extra `formats`, which a machine may be without."""
# fmt: off
TEXT_SUFFIXES = (
    ".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex", ".csv", ".tsv", ".log",
    ".html", ".htm", ".xml", ".css", ".yaml", ".yml", ".toml", ".ini", ".cfg",
    ".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".cu", ".cuh", ".cs", ".java", ".kt", ".scala",
    ".js", ".mjs", ".ts", ".jsx", ".tsx", ".go", ".rs", ".rb", ".php", ".pl", ".lua", ".r", ".jl", ".m",
    ".f", ".f90", ".f95", ".swift", ".hs", ".ml", ".sh", ".sql", ".cmake", ".proto",
)
_PACKED = (
    ".xz", ".bz2", ".bz", ".lzma", ".lz4", ".lz", ".br", ".z", ".sz", ".snappy",
    ".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst",
)
# fmt: on


def endings(kinds: Collection[Kind]) -> str:
    """Return the endings of files of these kinds, for people."""
    if "text" in kinds:
        return "text such as .txt .md .py, .jsonl, .parquet, also .gz and .zst"
    return f"{' '.join(JSONL_SUFFIXES)}, also .gz and .zst"


def readable(name: str) -> tuple[Kind, Compression] | None:
    """Return kind and compression of a file of this name; None if its type is not read here."""
    packing = compression(name)
    last = suffix(name.removesuffix(_last(name)) if packing else name)
    if last in JSONL_SUFFIXES:
        return "jsonl", packing
    if last in PARQUET_SUFFIXES and not packing:
        return "parquet", ""
    if last in TEXT_SUFFIXES:
        return "text", packing
    return None


def compression(name: str) -> Compression:
    """Return the compression of a file of this name; empty for a plain file."""
    return COMPRESSIONS.get(suffix(name), "")


def packed(name: str) -> str:
    """Return the ending of a name whose file would have to be unpacked first; empty for another name."""
    last, inner = suffix(name), suffix(name.removesuffix(_last(name)))
    if last in _PACKED:
        return last
    twice = last in COMPRESSIONS and inner in (*_PACKED, *PARQUET_SUFFIXES, *COMPRESSIONS)
    return inner + last if twice else ""


def holds_text(name: str) -> bool:
    """Return whether a packed file's name says that the file inside could be read."""
    return bool(packed(name) and readable(name.removesuffix(_last(name))))


def suffix(name: str) -> str:
    """Return the last ending of a name, in lower case."""
    return _last(name).lower()


def _last(name: str) -> str:
    return os.path.splitext(name)[1]
