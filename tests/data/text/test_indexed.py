"""Megatron-core's own builder and readers against what is put together from shards."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from slipway.data.text.shards import Counts, ShardWriter, read_counts

DOCUMENTS = [list(range(5)), [7], [9] * 300, [1, 2], [65535, 0]]


def write_shards(folder: Path, dtype: type, sizes: list[int]) -> list[Path]:
    """Shards of so many documents each."""
    paths, first = [], 0
    for i, size in enumerate(sizes):
        paths.append(folder / f"{i}.shard")
        with ShardWriter(paths[-1], dtype) as writer:
            for document in DOCUMENTS[first : first + size]:
                tokens = np.array(document, dtype)
                writer.add(tokens, np.array([len(document)]), Counts(1, len(document), 10, 0))
        first += size
    return paths


@pytest.mark.parametrize("entries", [65499, 65536])
@pytest.mark.parametrize("sizes", [[5], [2, 0, 3], [1, 1, 1, 1, 1]])
def test_same_bytes_as_megatrons_builder(tmp_path: Path, entries: int, sizes: list[int]) -> None:
    import torch
    from megatron.core.datasets.indexed_dataset import DType, IndexedDataset, IndexedDatasetBuilder

    from slipway.data.text.fast_bpe.encode import token_type
    from slipway.data.text.indexed import merge_shards

    dtype = DType.optimal_dtype(entries)
    assert token_type(entries) is dtype
    shards = write_shards(tmp_path, dtype, sizes)
    records = merge_shards(shards, str(tmp_path / "ours"), entries)
    theirs = IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype)
    for document in DOCUMENTS:
        theirs.add_item(torch.tensor(document))
        theirs.end_document()
    theirs.finalize(str(tmp_path / "theirs.idx"))
    for suffix, record in zip((".bin", ".idx"), records, strict=True):
        written = (tmp_path / f"ours{suffix}").read_bytes()
        assert written == (tmp_path / f"theirs{suffix}").read_bytes()
        assert (record.bytes, record.sha256) == (len(written), hashlib.sha256(written).hexdigest())
    dataset = IndexedDataset(str(tmp_path / "ours"))  # its arrays are views of a file that it closes
    assert [list(dataset[i]) for i in range(len(dataset))] == DOCUMENTS


def test_a_shard_is_whole_or_not_there(tmp_path: Path) -> None:
    [path] = write_shards(tmp_path, np.uint16, [5])
    assert read_counts(path, np.uint16) == Counts(5, sum(map(len, DOCUMENTS)), 50, 0)
    assert read_counts(tmp_path / "none.shard", np.uint16) is None
    whole = path.read_bytes()
    for broken in (b"", whole[:10], whole[:-1], whole[1:], whole + b"\0"):
        path.write_bytes(broken)
        assert read_counts(path, np.uint16) is None
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "failed.shard", np.uint16):
        raise RuntimeError
    assert not list(tmp_path.glob("failed*"))
