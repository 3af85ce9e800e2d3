"""What can be said before anything is read: the folder, its room, and whether the inputs are still the same."""

import os
import shutil
from pathlib import Path

from slipway.config.schema import Data
from slipway.data import inputs, workspace
from slipway.data.inputs import InputFile
from slipway.data.manifest import Manifest
from slipway.errors import UserError


def check_inputs(data: Data, found: Manifest) -> None:
    """Raise UserError where the inputs are not those that were read. They need not be there any more."""
    for name, source in data.sources.items():
        if not all(entry == inputs.STDLIB or Path(entry).expanduser().exists() for entry in source.inputs):
            continue
        files = inputs.find_inputs(name, source)
        record = found.sources[name]
        if inputs.fingerprint(files) != record.input_sha256:
            raise UserError(
                f"data.sources.{name}.inputs: files were changed, renamed or rewritten since {data.dir} was "
                f"prepared ({record.files} files of {record.input_bytes} bytes then, {len(files)} of "
                f"{sum(file.size for file in files)} now); choose another data.dir or remove {data.dir}"
            )


def check_folder(data: Data) -> None:
    """Raise UserError unless the folder, or what it would be made in, can be written, losing nothing."""
    folder = data.dir
    if not (folder / workspace.NAME).exists():
        for file in (f"{name}{suffix}" for name in data.sources for suffix in (".bin", ".idx")):
            if (folder / file).exists():
                raise UserError(
                    f"data.dir: {folder / file} is there without a manifest; choose another data.dir or "
                    "remove it"
                )
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(f"data.dir: {nearest} is not a folder")
    _check_apart(data)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"data.dir: {folder} cannot be written: no permission to write in {nearest}")


def _check_apart(data: Data) -> None:
    """What is prepared must not become an input of the next preparation."""
    folder = data.dir.resolve()
    for name, source in data.sources.items():
        for i, entry in enumerate(source.inputs):
            if entry != inputs.STDLIB and folder.is_relative_to(Path(entry).expanduser().resolve()):
                raise UserError(
                    f"data.dir: {data.dir} lies in data.sources.{name}.inputs[{i}], {entry}; choose a folder outside"
                )


def check_space(data: Data, files: dict[str, list[InputFile]]) -> None:
    """Raise UserError where the disk is certainly too small."""
    total = sum(file.size for of_source in files.values() for file in of_source)
    needed = least_space(data, total)
    nearest = next(path for path in (data.dir, *data.dir.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if needed > free:
        raise UserError(
            f"data.dir: {data.dir} has {free / 1e9:.2f} GB free; {total / 1e9:.2f} GB of input need at least "
            f"{needed / 1e9:.2f} GB (tokens, twice while they are put together)"
        )


def least_space(data: Data, input_bytes: int) -> int:
    """Bytes that inputs of this size need at the least.

    Two bytes a token, a token for each byte, or for 8 bytes of text at the most favourable; held twice, as
    shards and as .bin.
    """
    bytes_per_token = 1 if data.tokenizer.kind == "byte" else 8
    return 2 * 2 * input_bytes // bytes_per_token
