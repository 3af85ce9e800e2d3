"""A shuffled order that takes no memory: any place in it is computed on its own. Pure Python.

A Feistel network permutes the numbers of an even number of bits (Luby and Rackoff 1988, SIAM J. Comput. 17(2)); cycle
walking turns that into a permutation of any range (Black and Rogaway 2002, "Ciphers with arbitrary finite domains",
section 3). The round function is the finalizer of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA). It is for shuffling,
not for secrets.
"""

import hashlib
import struct
from functools import lru_cache

_ROUNDS = 6
_MASK = (1 << 64) - 1


def permuted(number: int, size: int, key: str | int) -> int:
    """Return the place of `number` in the permutation of range(size) that the key names, alike on every machine.

    Raises IndexError if the number is not in the range.
    """
    if not 0 <= number < size:
        raise IndexError(f"{number} is not in range({size})")
    half, mask, keys = _prepared(size, key)
    while True:
        left, right = number >> half, number & mask
        for round_key in keys:
            mixed = (right + round_key) & _MASK
            mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
            left, right = right, left ^ ((mixed ^ (mixed >> 31)) & mask)
        number = left << half | right
        # fewer than four of the network's numbers for each one of the range: on average below four turns
        if number < size:
            return number


@lru_cache(256)
def _prepared(size: int, key: str | int) -> tuple[int, int, tuple[int, ...]]:
    """Return the bits of half a number of the domain, their mask, and the rounds' keys.

    The domain is the smallest one that holds the range.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    digest = hashlib.blake2b(str(key).encode(), digest_size=8 * _ROUNDS).digest()
    return half, (1 << half) - 1, struct.unpack(f"<{_ROUNDS}Q", digest)
