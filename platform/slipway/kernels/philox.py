"""Philox 4x32-10: random words as a function of a key and a counter alone, the same on every device.

J. Salmon, M. Moraes, R. Dror, D. Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011); constants and test
vectors are those of their library, Random123. No element depends on another: a rank draws only its own part.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

WORDS = 4
"""Words that each counter gives."""
LOW = 0xFFFFFFFF
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the key before each further round


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> Tensor:
    """Return four words for each counter: int64 [4, ...] with values below 2^32, of the counters' common shape.

    counter: four int64 tensors with values below 2^32 that broadcast. key: two numbers below 2^32. The product of two
    words is exact modulo 2^64, which int64 keeps; bits above a word are cut off when a word is needed.
    """
    words = torch.stack(torch.broadcast_tensors(*counter))
    a, b, c, d = words
    p, q = torch.empty_like(words[:2])
    for turn in range(ROUNDS):  # in place: allocating memory would cost more than the operations
        first, second = ((k + turn * step) & LOW for k, step in zip(key, WEYL, strict=True))
        torch.mul(a, MULTIPLIERS[0], out=p)
        torch.mul(c, MULTIPLIERS[1], out=q)
        torch.bitwise_right_shift(q, 32, out=a).bitwise_xor_(b).bitwise_xor_(first).bitwise_and_(LOW)
        torch.bitwise_right_shift(p, 32, out=c).bitwise_xor_(d).bitwise_xor_(second).bitwise_and_(LOW)
        b, d, p, q = q, p, d, b
    assert ROUNDS % 2 == 0, "b and d are again where they were"
    return words.bitwise_and_(LOW)
