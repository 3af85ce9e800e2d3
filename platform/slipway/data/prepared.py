"""A folder of prepared data of any kind, with its manifest, which is written last and vouches for the other files."""

import errno
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.data import workspace
from slipway.data.files import FileRecord
from slipway.errors import UserError
from slipway.records import first_problem

FILE_NAME = "manifest.json"


class Record(BaseModel):
    """A part of a manifest, or a whole one."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Manifest = TypeVar("Manifest", bound=Record)


def read(folder: Path, manifest: type[Manifest]) -> Manifest | None:
    """Return the manifest in a folder; None if there is none. Raises UserError if it cannot be read or is not valid."""
    path = folder / FILE_NAME
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            "data.dir",
            f"cannot be read: {error}",
            value=path,
            do="make it readable, or choose another data.dir",
        ) from error
    try:
        return manifest.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            "data.dir",
            f"is not a manifest of this version: {first_problem(error)}",
            value=path,
            do="remove its folder and run `slipway data` again, or choose another data.dir",
        ) from error


def found(folder: Path, manifest: type[Manifest]) -> Manifest:
    """Return the manifest in a folder. Raises UserError if no data is prepared there."""
    there = read(folder, manifest)
    if there is None:
        raise UserError(
            "data.dir",
            "holds no prepared data",
            value=folder,
            do="run `slipway data` first, with the same data.* overrides",
        )
    return there


def differs(field: str, asked: object, prepared: object, folder: Path) -> UserError:
    """Return the error that the folder was prepared with another value than is asked for. field: a dotted path."""
    return UserError(
        field,
        f"differs from {prepared}, with which {folder} was prepared",
        value=asked,
        do=f"set it back, choose another data.dir, or remove {folder} and run `slipway data`",
    )


def check_sources(asked: Iterable[str], prepared: Iterable[str], folder: Path) -> None:
    """Raise UserError if the sources are not those that were prepared."""
    asked, prepared = list(asked), list(prepared)
    if set(asked) != set(prepared):
        raise differs("data.sources", ", ".join(asked), ", ".join(prepared), folder)


def check_fields(source: str, asked: Any, record: Any, fields: Iterable[str], folder: Path) -> None:
    """Raise UserError for the first of a source's fields that its record has another value for."""
    for field in fields:
        now, then = getattr(asked, field), getattr(record, field)
        if now != then:
            raise differs(f"data.sources.{source}.{field}", now, then, folder)


def check_sizes(files: Mapping[Path, FileRecord], folder: Path) -> None:
    """Raise UserError if a file is missing, or has another size than its record says."""
    remedy = f"remove {folder} and run `slipway data`"
    for path, record in files.items():
        if not path.is_file():
            raise UserError("data.dir", "is missing", value=path, do=remedy)
        size = path.stat().st_size
        if size != record.bytes:
            raise UserError(
                "data.dir", f"has {size} bytes, but {record.bytes} in its manifest", value=path, do=remedy
            )


@contextmanager
def being_prepared(folder: Path) -> Iterator[None]:
    """Turn errors inside into UserError if another process prepares the folder, or its disk or quota is full."""
    try:
        yield
    except workspace.Busy as error:
        raise UserError(
            "data.dir",
            "is being prepared by another process",
            value=folder,
            do="wait for it, or choose another data.dir",
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            "data.dir",
            f"cannot be written: {error.strerror}; what is already prepared is kept",
            value=folder,
            do="free some space and run the same command again",
        ) from error
