"""The folder of prepared data, checked before anything is read."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from slipway.data import workspace
from slipway.data.inputs import expand
from slipway.errors import UserError
from slipway.files import nearest_existing


def check_destination(folder: Path, names: Iterable[str], inputs: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError unless the folder, or its nearest existing parent, can be written without losing files.

    names: of the files that preparation writes first. inputs: files and folders that are read, by the dotted path of
    their field; an empty entry is no file.
    """
    if not (folder / workspace.NAME).exists():
        for file in names:
            if (folder / file).exists():
                raise UserError(
                    "data.dir",
                    "exists without a manifest",
                    value=folder / file,
                    do="choose another data.dir, or remove it",
                )
    nearest = nearest_existing(folder)
    if not nearest.is_dir():
        raise UserError("data.dir", "is not a directory", value=nearest, do="choose another data.dir")
    _check_apart(folder, inputs)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(
            "data.dir",
            f"cannot be written: no permission to write in {nearest}",
            value=folder,
            do="ask its owner for permission, or choose another data.dir",
        )


def _check_apart(folder: Path, inputs: Mapping[str, Sequence[str]]) -> None:
    """Raise UserError if the folder lies inside an input: it would become an input of the next preparation."""
    for field, entries in inputs.items():
        for i, entry in enumerate(entries):
            where = f"{field}[{i}]"
            for path in expand(entry, where) if entry else ():
                if folder.resolve().is_relative_to(os.path.realpath(path)):
                    raise UserError(
                        "data.dir",
                        f"lies inside {where}, {path}",
                        value=folder,
                        do="choose a directory outside it",
                    )


def check_room(folder: Path, needed: int, why: str) -> None:
    """Raise UserError if the disk is certainly too small. why: a clause that says what needs so many bytes."""
    free = shutil.disk_usage(nearest_existing(folder)).free
    if needed > free:
        raise UserError(
            "data.dir",
            f"has {free / 1e9:.2f} GB free, but {why}",
            value=folder,
            do="free some space, or choose another data.dir",
        )
