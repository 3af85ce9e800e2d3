"""What can be said before anything is read: the folder, its room, and whether the inputs are still the same."""

import glob
import os
import shutil

from slipway.data.text import inputs, workspace
from slipway.data.text.config import Config as Data
from slipway.data.text.inputs import InputFile
from slipway.data.text.manifest import Manifest
from slipway.errors import UserError
from slipway.files import nearest_existing


def changed_inputs(data: Data, found: Manifest) -> list[UserError]:
    """Return what of the inputs is not as it was read, one for each source. They need not exist any more."""
    return [change for name in data.sources if (change := _changed(data, found, name))]


def _changed(data: Data, found: Manifest, name: str) -> UserError | None:
    source, record = data.sources[name], found.sources[name]
    if not all(entry == inputs.STDLIB or _is_there(entry) for entry in source.inputs):
        return None
    try:
        files = inputs.find_inputs(name, source)
    except UserError as error:
        return error
    if inputs.fingerprint(files) == record.input_sha256:
        return None
    return UserError(
        f"data.sources.{name}.inputs",
        f"files were changed, renamed or rewritten since {data.dir} was "
        f"prepared ({record.files} files of {record.input_bytes} bytes then, {len(files)} of "
        f"{sum(file.size for file in files)} now)",
    )


def _is_there(entry: str) -> bool:
    path = os.path.expanduser(entry)
    return os.path.exists(path) or glob.has_magic(path)


def check_folder(data: Data) -> None:
    """Raise UserError unless the folder, or what it would be made in, can be written, losing nothing."""
    folder = data.dir
    if not (folder / workspace.NAME).exists():
        for file in (f"{name}{suffix}" for name in data.sources for suffix in (".bin", ".idx")):
            if (folder / file).exists():
                raise UserError(
                    "data.dir",
                    "exists without a manifest",
                    value=folder / file,
                    do="choose another data.dir, or remove it",
                )
    nearest = nearest_existing(folder)
    if not nearest.is_dir():
        raise UserError("data.dir", "is not a directory", value=nearest)
    _check_apart(data)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError("data.dir", f"cannot be written: no permission to write in {nearest}", value=folder)


def _check_apart(data: Data) -> None:
    """What is prepared must not become an input of the next preparation."""
    folder = data.dir.resolve()
    for name, source in data.sources.items():
        for i, entry in enumerate(source.inputs):
            where = f"data.sources.{name}.inputs[{i}]"
            for path in [] if entry == inputs.STDLIB else inputs.expand(entry, where):
                if folder.is_relative_to(os.path.realpath(path)):
                    raise UserError(
                        "data.dir",
                        f"lies inside {where}, {path}",
                        value=data.dir,
                        do="choose a directory outside it",
                    )


def check_space(data: Data, files: dict[str, list[InputFile]]) -> None:
    """Raise UserError where the disk is certainly too small."""
    total = sum(file.size for of_source in files.values() for file in of_source)
    needed = least_space(data, total)
    nearest = nearest_existing(data.dir)
    free = shutil.disk_usage(nearest).free
    if needed > free:
        raise UserError(
            "data.dir",
            f"has {free / 1000000000.0:.2f} GB free, but {total / 1000000000.0:.2f} GB of input need at least "
            f"{needed / 1000000000.0:.2f} GB (the tokens, twice while they are put together)",
            value=data.dir,
            do="free some space, or choose another data.dir",
        )


def least_space(data: Data, input_bytes: int) -> int:
    """Bytes that inputs of this size need at the least.

    Two bytes a token, a token for each byte, or for 8 bytes of text at the most favourable; held twice, as
    shards and as .bin.
    """
    bytes_per_token = 1 if data.tokenizer.kind == "byte" else 8
    return 2 * 2 * input_bytes // bytes_per_token
