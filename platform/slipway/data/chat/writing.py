"""The files of a source, written from shards: conversations in the order of the samples that they are packed into.

.bin and .idx are Megatron-core's indexed format, whose sequences are conversations and whose documents are samples;
.loss has a byte for each token of the .bin, 1 where the loss is of it. Samples of training come first, then those of
validation and test.
"""

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from slipway.data.chat.manifest import SplitRecord
from slipway.data.chat.packing import packed
from slipway.data.chat.shards import read_array
from slipway.data.files import FileRecord
from slipway.data.kind import Split
from slipway.data.permutation import permuted
from slipway.data.split import SPLITS
from slipway.data.text.split import document_counts

if TYPE_CHECKING:
    import numpy as np


class Written(NamedTuple):
    """The splits and files that were written for a source."""

    splits: dict[Split, SplitRecord]
    files: dict[str, FileRecord]
    """The files' records by their endings."""


def write_source(
    shards: Sequence[Path],
    folder: Path,
    name: str,
    entries: int,
    length: int,
    shares: tuple[float, float, float],
) -> Written:
    """Write folder/NAME.bin, .idx and .loss, and return their records.

    length: tokens of a sample. shares: those of the splits.
    """
    import numpy as np

    from slipway.data.text.fast_bpe.encode import token_type

    dtype = token_type(entries)
    lengths = np.concatenate([read_array(shard, "lengths") for shard in shards]).astype(np.int64)
    joined = {what: _joined(shards, what, folder / f"{name}.{what}.joined") for what in ("tokens", "loss")}
    samples: list[list[int]] = []
    splits: dict[Split, SplitRecord] = {}
    for split, numbers in shared_out(len(lengths), name, shares).items():
        # the last token of a conversation is predicted and predicts nothing: it takes no place
        of_split = packed([int(lengths[number]) - 1 for number in numbers], length)
        samples += [[numbers[i] for i in sample] for sample in of_split]
        splits[split] = SplitRecord(
            conversations=len(numbers),
            samples=len(of_split),
            tokens=int(sum(lengths[number] for number in numbers)),
        )
    order = np.array([number for sample in samples for number in sample], np.int64)
    firsts = np.cumsum(lengths) - lengths
    stretches = list(zip(firsts[order].tolist(), lengths[order].tolist(), strict=True))
    records = {
        ".bin": _written(folder / f"{name}.bin", joined["tokens"], dtype, stretches),
        ".loss": _written(folder / f"{name}.loss", joined["loss"], np.uint8, stretches),
        ".idx": _write_index(folder / f"{name}.idx", lengths[order], [len(one) for one in samples], dtype),
    }
    for path in joined.values():
        path.unlink()
    return Written(splits, records)


def shared_out(
    conversations: int, source: str, shares: tuple[float, float, float]
) -> Mapping[Split, list[int]]:
    """Return the numbers of the conversations in each split, in order.

    They are shuffled by the source's name, so that each split is a fair sample of files in any order.
    """
    counts = document_counts(conversations, shares)
    borders = [counts[0], counts[0] + counts[1]]
    found: dict[Split, list[int]] = {split: [] for split in SPLITS}
    for number in range(conversations):
        place = permuted(number, conversations, f"split/{source}")
        found[SPLITS[(place >= borders[0]) + (place >= borders[1])]].append(number)
    return found


def _joined(shards: Sequence[Path], what: str, path: Path) -> Path:
    with open(path, "wb") as file:
        for shard in shards:
            file.write(read_array(shard, what).tobytes())
    return path


def _written(path: Path, joined: Path, dtype: type, stretches: Sequence[tuple[int, int]]) -> FileRecord:
    """Write stretches (first, count) of the joined file one after the other, and return the file's record."""
    import numpy as np

    size = np.dtype(dtype).itemsize
    digest, total = sha256(), 0
    with open(joined, "rb") as source, open(path, "wb") as file:
        for first, count in stretches:
            data = os.pread(source.fileno(), count * size, first * size)
            assert len(data) == count * size, joined
            file.write(data)
            digest.update(data)
            total += len(data)
        file.flush()
        os.fsync(file.fileno())
    return FileRecord(bytes=total, sha256=digest.hexdigest())


def _write_index(path: Path, lengths: "np.ndarray", conversations: Sequence[int], dtype: type) -> FileRecord:
    """Write a .idx and return its record.

    lengths: tokens of each conversation, [conversations]. conversations: the number in each sample.
    """
    import numpy as np

    from slipway.data.text.tokens import HEADER, MAGIC, TYPES

    found = np.dtype(dtype).newbyteorder("<")
    code = next(code for code, one in TYPES.items() if one == found)
    begins = np.concatenate([[0], np.cumsum(np.array(conversations, np.int64))])
    data = b"".join(
        (
            HEADER.pack(MAGIC, 1, code, len(lengths), len(begins)),
            lengths.astype("<i4").tobytes(),
            ((np.cumsum(lengths) - lengths) * found.itemsize).astype("<i8").tobytes(),
            begins.astype("<i8").tobytes(),
        )
    )
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return FileRecord(bytes=len(data), sha256=sha256(data).hexdigest())
