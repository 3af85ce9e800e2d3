"""A checkpoint's pickled index is read without trusting it."""

import os
import pickle
from pathlib import Path

import pytest

from slipway.checkpoint.index import INDEX, check_index
from slipway.checkpoint.manifest import Damaged


class Payload:
    """What an attacker plants: unpickling it would run a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def test_a_planted_payload_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    marker = tmp_path / "owned"
    (tmp_path / INDEX).write_bytes(pickle.dumps({"a": Payload(marker)}))
    with pytest.raises(Damaged, match="damaged or not ours .*system"):
        check_index(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["load", "serialization.load", "hub.load"])
def test_functions_of_torch_are_refused_too(tmp_path: Path, name: str) -> None:
    module, _, function = f"torch.{name}".rpartition(".")
    (tmp_path / INDEX).write_bytes(f"c{module}\n{function}\n.".encode())
    with pytest.raises(Damaged, match="damaged or not ours"):
        check_index(tmp_path)


def by_getattr(module: str, owner: str, name: str) -> bytes:
    """A pickle of getattr(module.owner, name)."""
    return f"cbuiltins\ngetattr\n(c{module}\n{owner}\nV{name}\ntR.".encode()


def index_with(value: bytes) -> bytes:
    """An index that holds another pickle's value, too."""
    metadata = "ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81"
    return f"{metadata}}}(Vstorage_data\n}}Vproperties\n".encode("latin-1") + value.rstrip(b".") + b"ub."


def test_an_enumeration_as_python_3_11_2_pickles_it(tmp_path: Path) -> None:
    """By getattr, which is let at nothing else."""
    enumeration = ("torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING")
    (tmp_path / INDEX).write_bytes(index_with(by_getattr(*enumeration, "TORCH_CONTIGUOUS_FORMAT")))
    assert check_index(tmp_path) == []
    for planted in (
        by_getattr(*enumeration, "__class__"),
        by_getattr("torch.distributed.checkpoint.metadata", "Metadata", "TORCH_CONTIGUOUS_FORMAT"),
        by_getattr("pathlib", "PosixPath", "unlink"),
        by_getattr(*enumeration, "TORCH_CONTIGUOUS_FORMAT")[:-1] + b"(tR.",  # and called
    ):
        (tmp_path / INDEX).write_bytes(index_with(planted))
        with pytest.raises(Damaged, match="damaged or not ours"):
            check_index(tmp_path)


def test_what_stands_for_a_piece_must_be_what_torch_writes(tmp_path: Path) -> None:
    """Another class, or arguments in place of a state, could hide a path from the check."""
    piece = "ctorch.distributed.checkpoint.filesystem\n_StorageInfo\n"
    state = "}(Vrelative_path\nV../../outside\nVoffset\nI0\nVlength\nI9\nu"
    for disguised in (
        f"{piece})\x81{state}b",
        f"{piece}(V../../outside\nI0\nI9\ntR",
        f"{piece}(V../../outside\nI0\nI9\nt\x81",
        f"ctorch.distributed.checkpoint.metadata\nStorageMeta\n)\x81{state}b",
        "V../../outside\n",
    ):
        index = "ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81}(Vstorage_data\n}(I0\n" + disguised
        (tmp_path / INDEX).write_bytes(f"{index}uub.".encode("latin-1"))
        with pytest.raises(Damaged, match="damaged or not ours"):
            check_index(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"\x80\x04\x95"])
def test_a_damaged_index(tmp_path: Path, content: bytes) -> None:
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(Damaged, match="damaged or not ours"):
        check_index(tmp_path)


def test_a_missing_index(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="No such file"):
        check_index(tmp_path)
