"""Random numbers of a sample, which depend on the run's seed, the split and the draw alone.

So masks and crops are the same whatever the layout, the number of ranks, the order of reading and the interruptions,
and differ each time that a sample comes round: draws are numbered over the whole run. The key is a hash (BLAKE2b) of
what names the draw; the stream is Philox 4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"),
which is made for many streams by key. Imports numpy when a stream is asked for, never torch.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING

from slipway.data.ledger import Draw

if TYPE_CHECKING:
    import numpy as np

SEED_FIELD = "sample_seed"
"""The field of batches that holds each sample's seed, [b] int64; every kind has it if it is asked for."""


def generator(seed: int, split: str, draw: Draw) -> "np.random.Generator":
    """Return the sample's own stream of random numbers, at its beginning."""
    import numpy as np

    return np.random.Generator(np.random.Philox(key=int.from_bytes(_key(seed, split, draw), "little")))


def sample_seed(seed: int, split: str, draw: Draw) -> int:
    """Return 63 random bits that identify the sample, to seed generators elsewhere, as on a GPU.

    Every rank that asks for SEED_FIELD gets them, so that the first and the last stage of a pipeline can make the same
    masks without sending them.
    """
    return int.from_bytes(_key(seed, f"{split}/seed", draw)[:8], "little") >> 1


def _key(seed: int, split: str, draw: Draw) -> bytes:
    return blake2b(f"{seed}/{split}/{draw.source}/{draw.number}".encode(), digest_size=16).digest()
