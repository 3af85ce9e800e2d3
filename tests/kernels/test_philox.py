"""The generator's words, against its authors' test vectors and against whole numbers without bounds."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import whole_numbers
from slipway.kernels.philox import LOW, philox

# kat_vectors of Random123 (github.com/DEShawResearch/random123), philox4x32 with 10 rounds: counter, key, words
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
WORD = st.integers(0, LOW)


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def one(counter: Sequence[int], key: tuple[int, int]) -> list[int]:
    return philox([torch.tensor(word) for word in counter], key).tolist()


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_the_authors_vectors(counter: str, key: str, expected: str) -> None:
    first, second = words(key)
    assert one(words(counter), (first, second)) == words(expected)


@given(st.tuples(WORD, WORD, WORD, WORD), st.tuples(WORD, WORD))
def test_any_counter_and_key(counter: tuple[int, int, int, int], key: tuple[int, int]) -> None:
    assert one(counter, key) == whole_numbers.philox(counter, key)


def test_many_counters_at_once() -> None:
    a, c = torch.arange(5), torch.arange(3)[:, None]
    zero = torch.zeros((), dtype=torch.int64)
    found = philox((a, zero, c, zero), (1, 2)).movedim(0, -1)
    assert found.shape == (3, 5, 4)
    assert found.tolist() == [
        [whole_numbers.philox((i, 0, j, 0), (1, 2)) for i in range(5)] for j in range(3)
    ]
