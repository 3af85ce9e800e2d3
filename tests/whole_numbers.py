"""Slipway's initial values by whole numbers without bounds, and by no code of Slipway's."""

import hashlib


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]:
    """Four words: the round of Salmon et al. 2011, ten times."""
    a, b, c, d = counter
    first, second = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ first, q % 2**32, (p >> 32) ^ d ^ second, p % 2**32
        first, second = (first + 0x9E3779B9) % 2**32, (second + 0xBB67AE85) % 2**32
    return [a, b, c, d]


def uniform(place: str, rows: int, columns: int, low: float, high: float) -> list[list[float]]:
    """The values of a matrix, in float64."""
    digest = hashlib.sha256(place.encode()).digest()
    key = (int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big"))
    words = [
        [word for block in range(-(-columns // 4)) for word in philox((block, 0, row, 0), key)][:columns]
        for row in range(rows)
    ]
    return [[low + (high - low) * (word >> 8) / 2**24 for word in row] for row in words]
