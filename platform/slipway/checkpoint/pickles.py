"""Checks the pickles of a checkpoint: each tensor is a zip file with a small one, and none is trusted.

torch refuses a planted one, too (weights_only), but in the middle of loading; here it is found before, and an older
checkpoint can be loaded instead. Imports no torch.
"""

import io
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from slipway.checkpoint.index import Piece
from slipway.checkpoint.manifest import Damaged, look
from slipway.files import Slice

COMMON = "common.pt"
_PICKLE = "data.pkl"
_ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch.storage", "UntypedStorage"),
}
_OF_TORCH = re.compile(r"[A-Z]\w*Storage|bool|u?int\d+|bfloat16|float\d+(_e\dm\d\w*)?|complex\d+")


class _Reader(pickle.Unpickler):
    """Knows what a tensor is made of, and builds nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED or (module == "torch" and _OF_TORCH.fullmatch(name)):
            return _nothing
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> None:
        return None


def _nothing(*arguments: Any) -> None:
    return None


def check_tensors(path: Path, pieces: Iterable[Piece]) -> None:
    """Raise Damaged if the checkpoint's files hold anything but tensors. Raises Unreadable."""
    files: dict[str, list[Piece]] = {}
    for piece in pieces:
        files.setdefault(piece.file, []).append(piece)
    if (path / COMMON).exists():
        files[COMMON] = [Piece(COMMON, 0, (path / COMMON).stat().st_size)]
    for name, of_file in files.items():
        look(path / name, lambda name=name, of_file=of_file: _check_file(path / name, of_file))


def _check_file(path: Path, pieces: list[Piece]) -> None:
    with path.open("rb") as file:
        for piece in pieces:
            try:
                for content in _pickles(Slice(file, piece.offset, piece.length)):
                    _Reader(io.BytesIO(content)).load()
            except OSError:
                raise
            except Exception as error:  # a damaged zip file and a damaged pickle fail in many ways
                raise Damaged(f"{path.name}: at {piece.offset}: damaged or not ours ({error})") from None


def _pickles(file: io.RawIOBase) -> Iterator[bytes]:
    with zipfile.ZipFile(file) as archive:  # type: ignore[arg-type]
        names = [name for name in archive.namelist() if name.rpartition("/")[2] == _PICKLE]
        if not names:
            raise ValueError(f"no {_PICKLE}")
        for name in names:
            yield archive.read(name)
