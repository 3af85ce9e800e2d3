"""The folder of a model from elsewhere: config.json, and tensors by name in one file or several.

Links that lead out of the folder are not followed. Headers, names and sizes are checked before any number is read.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway import files
from slipway.errors import UserError
from slipway.handover.shards import ALONE, INDEX
from slipway.models.formats import Shape

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
_LARGEST_TEXT = 64 * 2**20  # bytes of a file of JSON: an index of 100,000 tensors has 10 MB
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def check(option: str, folder: Path) -> None:
    """Raise UserError if there is no folder of this name."""
    if not folder.is_dir():
        raise UserError(
            option,
            "does not exist" if not folder.exists() else "is not a folder",
            value=folder,
            do="name a folder with config.json, *.safetensors and tokenizer.json; nothing is downloaded",
        )


def settings(folder: Path) -> dict[str, Any]:
    """Return the content of config.json. Raises UserError if it is missing or not a JSON object."""
    return read_json(folder, CONFIG)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in a file of the folder. Raises UserError if it is missing or no JSON object."""
    path = inside(folder, name)
    try:
        found = json.loads(text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"is not JSON: {error}", do="replace it with a good copy") from None
    if not isinstance(found, dict):
        raise UserError(
            path, f"is a {type(found).__name__}, not a JSON object", do="replace it with a good copy"
        )
    return found


def text(path: Path) -> bytes:
    """Return the content of a file that should be small. Raises UserError if it is not."""
    if path.stat().st_size > _LARGEST_TEXT:
        raise UserError(
            path,
            f"has {path.stat().st_size:,} bytes, more than any file of its kind",
            do="check that it is the right file",
        )
    return files.read(path) or b""


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file of the folder. Raises UserError if it is missing, or leads out of the folder."""
    path = folder / name
    if Path(name).name != name:
        raise UserError(
            folder / INDEX,
            "names a file that is not in the folder",
            value=name,
            do="copy all files into the folder",
        )
    if not path.exists():
        raise UserError(
            path,
            "is missing" if not path.is_symlink() else "is a link that leads nowhere",
            do="complete the folder",
        )
    if path.resolve().parent != folder.resolve():
        raise UserError(
            path,
            f"is a link out of the folder, to {path.resolve()}",
            do=f"copy the folder with all that it links to: cp -rL {folder} COPY",
        )
    if not path.is_file():
        raise UserError(path, "is not a file", do="replace it with the file of that name")
    return path


def names(folder: Path) -> list[str]:
    """Return the names of the tensors, from the index or the only file. Raises UserError if there is neither."""
    from slipway.handover.safetensors_file import Source

    return list(_places(folder)) or list(Source(inside(folder, ALONE)).shapes)


class Tensors:
    """The tensors of all files of weights: their shapes by name, and their numbers one tensor at a time."""

    def __init__(self, folder: Path) -> None:
        """Read the headers of all files.

        Raises UserError if files are missing, damaged or contradict each other.
        """
        from slipway.handover.safetensors_file import Source

        self.folder = folder
        places = _places(folder)
        names = sorted(set(places.values())) if places else [ALONE]
        self.files = [inside(folder, name) for name in names]
        self.sources: dict[str, Source] = {}
        self.shapes: dict[str, Shape] = {}
        for path in self.files:
            source = Source(path)
            for name, shape in source.shapes.items():
                if name in self.sources:
                    raise UserError(
                        path,
                        f"holds {name}, which {self.sources[name].path.name} holds, too",
                        do="remove one of the two files",
                    )
                if places and places.get(name) != path.name:
                    said = f"has it in {places[name]}" if name in places else "does not name it"
                    raise UserError(
                        path, f"holds {name}, but {INDEX} {said}", do="use the files that belong together"
                    )
                self.sources[name], self.shapes[name] = source, shape
        lost = next((name for name in places if name not in self.sources), None)
        if lost is not None:
            raise UserError(
                folder / places[lost],
                f"does not hold {lost}, as {INDEX} says",
                do="use the files that belong together",
            )

    def read(self, name: str) -> "Tensor":
        """Return a tensor in the shape that `shapes` has for it."""
        return self.sources[name].read(name)

    def file(self, name: str) -> Path:
        """Return the path of the file that holds a tensor."""
        return self.sources[name].path

    def type(self, name: str) -> str:
        """Return the type of a tensor's numbers, by safetensors' name for it."""
        return self.sources[name].types[name]

    def equal(self, one: str, other: str) -> bool:
        """Return whether two tensors have the same shape and numbers, with only pieces of them in memory."""
        import torch

        if other not in self.shapes or self.shapes[one] != self.shapes[other]:
            return False
        pairs = zip(self.sources[one].pieces(one), self.sources[other].pieces(other), strict=True)
        return all(torch.equal(first.double(), second.double()) for first, second in pairs)


def _places(folder: Path) -> dict[str, str]:
    """Return the name of each tensor's file from the index; empty if all tensors are in one file.

    Raises UserError if there are no weights, or the index is not valid.
    """
    has_index = (folder / INDEX).exists() or (folder / INDEX).is_symlink()
    if not has_index:
        if not (folder / ALONE).exists() and not (folder / ALONE).is_symlink():
            raise _no_weights(folder)
        return {}
    places = read_json(folder, INDEX).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise UserError(
            folder / INDEX,
            "has no weight_map: which file holds which tensor",
            do="replace it with a good copy",
        )
    for name, file in places.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
            raise UserError(
                folder / INDEX,
                f"says that {name} is in another place than a .safetensors file of this folder",
                value=file,
                do="copy all files into the folder, and correct the index",
            )
    return places


def _no_weights(folder: Path) -> UserError:
    pickles = sorted(path.name for kind in _PICKLES for path in folder.glob(kind))
    if pickles:
        return UserError(
            folder / pickles[0],
            "is a pickle, which could run code and is not read",
            use=f"weights as {ALONE}: transformers' save_pretrained writes them",
        )
    others = sorted(path.name for path in folder.glob("*.safetensors"))
    return UserError(
        folder / ALONE,
        "is missing" + (f", and {INDEX}, too, beside {others[0]}" if others else ""),
        do=f"complete the folder: {ALONE}, or shards with {INDEX}",
    )
