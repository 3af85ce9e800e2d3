"""Files of tensors by name, and the modules that read and write each kind."""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from slipway.errors import UserError

if TYPE_CHECKING:
    from slipway.handover import pt_file, safetensors_file

    Source = pt_file.Source | safetensors_file.Source

SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


def check(option: str, path: Path | None) -> Path:
    """Return the path that an option names. Raises UserError if it names none, or a file of unknown type."""
    if path is None:
        raise UserError(option, "is missing", use=f"a file name that ends in {', '.join(SUFFIXES)}")
    if path.suffix not in SUFFIXES:
        raise UserError(
            option, "has an unknown file type", value=path, use=f"a name that ends in {', '.join(SUFFIXES)}"
        )
    return path


def kind(path: Path) -> ModuleType:
    """Return the module that writes (`write`) and reads (`Source`) such a file. Imports torch."""
    from slipway.handover import pt_file, safetensors_file

    return safetensors_file if path.suffix == ".safetensors" else pt_file
