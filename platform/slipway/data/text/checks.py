"""Checks before anything is read: the folder, its free space, and whether the inputs are still the same."""

from slipway.data.destination import check_destination, check_room
from slipway.data.inputs import changed, is_there
from slipway.data.text import inputs
from slipway.data.text.config import Config as Data
from slipway.data.text.inputs import InputFile
from slipway.data.text.manifest import Manifest
from slipway.errors import UserError


def changed_inputs(data: Data, found: Manifest) -> list[UserError]:
    """Return an error for each source whose inputs have changed since they were read.

    Inputs that no longer exist are not compared.
    """
    return [change for name in data.sources if (change := _changed(data, found, name))]


def _changed(data: Data, found: Manifest, name: str) -> UserError | None:
    source, record = data.sources[name], found.sources[name]
    if not all(entry == inputs.STDLIB or is_there(entry) for entry in source.inputs):
        return None
    return changed(name, lambda: inputs.find_inputs(name, source), record, data.dir)


def check_folder(data: Data) -> None:
    """Raise UserError unless the folder, or its nearest existing parent, can be written without losing files."""
    names = (f"{name}{suffix}" for name in data.sources for suffix in (".bin", ".idx"))
    files = {
        f"data.sources.{name}.inputs": ["" if entry == inputs.STDLIB else entry for entry in source.inputs]
        for name, source in data.sources.items()
    }
    check_destination(data.dir, names, files)


def check_space(data: Data, files: dict[str, list[InputFile]]) -> None:
    """Raise UserError if the disk is certainly too small."""
    total = sum(file.size for of_source in files.values() for file in of_source)
    needed = least_space(data, total)
    check_room(
        data.dir,
        needed,
        f"{total / 1e9:.2f} GB of input need at least {needed / 1e9:.2f} GB (the tokens, twice while they are put "
        "together)",
    )


def least_space(data: Data, input_bytes: int) -> int:
    """Return the bytes that inputs of this size need at least.

    These are two bytes a token, with a token for each byte or, at the most favourable, for 8 bytes of text; held twice,
    as shards and as .bin.
    """
    bytes_per_token = 1 if data.tokenizer.kind == "byte" else 8
    return 2 * 2 * input_bytes // bytes_per_token
