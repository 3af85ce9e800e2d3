"""`.pt`: a dictionary of tensors, written by torch.save and read by torch.load(weights_only=True)."""

import pickle
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slipway.errors import UserError
from slipway.models.formats import Shape

_LARGE = 2**20  # bytes from which a tensor waits on disk


def write(
    path: Path,
    shapes: dict[str, Shape],
    dtypes: Mapping[str, torch.dtype],
    tensors: Iterable[tuple[str, Tensor]],
) -> None:
    """Write tensors in the order in which they come; `shapes` and `dtypes` are those of all of them.

    torch.save wants the whole dictionary. Large tensors wait in files beside `path` that are mapped into memory and
    have no name any more: the system keeps as much of them in memory as it likes, and nothing stays behind if the
    process ends.
    """
    whole = {}
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as folder:
        place = Path(folder) / "tensor"
        for name, tensor in tensors:
            dtype = dtypes[name]
            if tensor.nbytes >= _LARGE:
                kept = torch.from_file(str(place), shared=True, size=tensor.numel(), dtype=dtype)
                place.unlink()
                kept.copy_(tensor.reshape(-1))
            else:
                kept = tensor.reshape(-1).clone()
            whole[name] = kept.view(shapes[name])
        torch.save(whole, path)


class Source:
    """The tensors of a file, mapped into memory and read when they are used."""

    def __init__(self, path: Path) -> None:
        """Open the file without running anything in it.

        Raises UserError if it holds anything but tensors by name.
        """
        found = _loaded(path)
        if not isinstance(found, dict) or not found:
            raise UserError(
                path,
                f"holds a {type(found).__name__}",
                do="save it with `torch.save(model.state_dict(), FILE)`",
            )
        strange = [name for name, value in found.items() if not isinstance(value, Tensor)]
        if strange:
            raise UserError(
                path,
                f"holds more than tensors: {strange[0]!r} is a {type(found[strange[0]]).__name__}",
                use="a flat dictionary of tensors by name, as `torch.save(model.state_dict(), FILE)` writes it",
            )
        self.tensors: dict[str, Tensor] = found
        self.shapes: dict[str, Shape] = {name: tuple(tensor.shape) for name, tensor in found.items()}

    def read(self, name: str) -> Tensor:
        """Return a tensor in the shape that `shapes` has for it."""
        return self.tensors[name]


def _loaded(path: Path) -> Any:
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # written by a torch before 1.6
    except pickle.UnpicklingError as error:
        raise UserError(
            path,
            "is damaged, or holds more than tensors, which is not read because it could run code "
            f"(torch.load with weights_only=True: {str(error).strip().splitlines()[0][:120]})",
            do="save the tensors alone, with `torch.save(model.state_dict(), FILE)`",
        ) from None
    except (RuntimeError, EOFError, ValueError) as error:
        raise UserError(
            path,
            f"is not a file of torch.save: {str(error).splitlines()[0][:120]}",
            do="save it with `torch.save(model.state_dict(), FILE)`",
        ) from None
