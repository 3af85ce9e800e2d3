"""Megatron-core's .bin and .idx, written from shards. Imports torch: only the process that writes them imports this."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from slipway.data.files import FileRecord, record_of
from slipway.data.text.shards import Counts, read_counts, read_lengths, read_tokens

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what of Megatron-core is not installed does not matter here
    from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder, _IndexWriter


class ShardedDatasetBuilder(IndexedDatasetBuilder):
    """Megatron-core's builder, fed with shards.

    The original keeps Python lists of all lengths, and finalize copies them several times; here they stay on
    disk and go into the index shard by shard, so that memory does not grow with the number of documents.
    """

    def __init__(self, bin_path: str, dtype: type) -> None:
        super().__init__(bin_path, dtype)
        self.shards: list[tuple[Path, Counts]] = []
        self.digest = hashlib.sha256()

    def add_shard(self, path: Path) -> None:
        """Append a shard's documents, each one sequence."""
        counts = read_counts(path, self.dtype)
        assert counts is not None, path
        for data in read_tokens(path, counts, self.dtype):
            self.data_file.write(data)
            self.digest.update(data)
        self.shards.append((path, counts))

    def finalize(self, idx_path: str) -> None:
        """Close the .bin and write the .idx, byte by byte as Megatron-core's _IndexWriter does."""
        self.data_file.flush()
        os.fsync(self.data_file.fileno())
        self.data_file.close()
        documents = sum(counts.documents for _, counts in self.shards)
        with _IndexWriter(idx_path, self.dtype) as writer:
            out = writer.idx_writer
            out.write(np.array([documents, documents + 1], "<u8").tobytes())
            for path, counts in self.shards:
                out.write(read_lengths(path, counts, self.dtype).tobytes())
            pointer, size = 0, DType.size(self.dtype)
            for path, counts in self.shards:
                sizes = read_lengths(path, counts, self.dtype).astype(np.int64) * size
                out.write((pointer + np.cumsum(sizes) - sizes).tobytes())
                pointer += int(sizes.sum())
            # where each document begins, counted in sequences
            first = 0
            for _, counts in self.shards:
                out.write(np.arange(first, first + counts.documents, dtype=np.int64).tobytes())
                first += counts.documents
            out.write(np.array([documents], np.int64).tobytes())
            out.flush()
            os.fsync(out.fileno())


def merge_shards(shards: Sequence[Path], prefix: str, entries: int) -> tuple[FileRecord, FileRecord]:
    """Write prefix.bin and prefix.idx from shards, in their order; return their sizes and checksums."""
    builder = ShardedDatasetBuilder(f"{prefix}.bin", DType.optimal_dtype(entries))
    for shard in shards:
        builder.add_shard(shard)
    builder.finalize(f"{prefix}.idx")
    bin_record = FileRecord(bytes=os.path.getsize(f"{prefix}.bin"), sha256=builder.digest.hexdigest())
    return bin_record, record_of(Path(f"{prefix}.idx"))
