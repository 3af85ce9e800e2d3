"""The conversations of a block, stored on disk until all blocks are done; a shard exists whole or not at all."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.data.chat.tokenizer import Encoded
from slipway.files import flush

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class LeftOut:
    """Conversations that are not trained on, all for the same reason."""

    count: int
    first: str
    """File and line of the first one, and what is wrong with it."""


@dataclass(frozen=True)
class Counts:
    """The amounts in a block or a source."""

    conversations: int = 0
    tokens: int = 0
    loss_tokens: int = 0
    longest: int = 0
    """Tokens of the longest conversation, before it is cut."""
    cut: int = 0
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    """The number of the assistant's turns that each special token ends; those that none ends are under ""."""

    def __add__(self, other: "Counts") -> "Counts":
        left_out = dict(self.left_out)
        for kind, more in other.left_out.items():
            before = left_out.get(kind)
            left_out[kind] = LeftOut(before.count + more.count, before.first) if before else more
        return Counts(
            self.conversations + other.conversations,
            self.tokens + other.tokens,
            self.loss_tokens + other.loss_tokens,
            max(self.longest, other.longest),
            self.cut + other.cut,
            left_out,
            dict(Counter(self.ends) + Counter(other.ends)),
        )


def write_shard(path: Path, encoded: Sequence[Encoded], dtype: type, counts: Counts) -> None:
    """Write a block's conversations; the shard gets its name when all of it is on disk."""
    import numpy as np

    partial = path.with_name(path.name + ".partial")
    said = json.dumps(asdict(counts))
    with open(partial, "wb") as file:
        np.savez(
            file,
            counts=np.frombuffer(said.encode(), np.uint8),
            lengths=np.array([len(one.tokens) for one in encoded], np.int32),
            tokens=np.concatenate([np.zeros(0, dtype), *(one.tokens.astype(dtype) for one in encoded)]),
            loss=np.concatenate([np.zeros(0, np.uint8), *(one.loss.astype(np.uint8) for one in encoded)]),
        )
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    flush(path.parent)


def read_counts(path: Path) -> Counts | None:
    """Return the counts of a shard; None if it does not exist."""
    if not path.exists():
        return None
    said = json.loads(read_array(path, "counts").tobytes())
    left_out = {kind: LeftOut(**one) for kind, one in said["left_out"].items()}
    return Counts(**{**said, "left_out": left_out})


def read_array(path: Path, name: str) -> "np.ndarray":
    """Return an array of a shard: `lengths` [conversations] int32, `tokens` or `loss` [tokens]."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]
