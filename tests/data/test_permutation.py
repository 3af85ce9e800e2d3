"""The order without a table: a bijection, by its key, the same everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.data.permutation import permuted

keys = st.one_of(st.integers(), st.text())


@given(size=st.integers(1, 700), key=keys)
def test_every_number_once(size: int, key: str | int) -> None:
    assert sorted(permuted(i, size, key) for i in range(size)) == list(range(size))


@given(size=st.integers(1, 10**15), key=keys, data=st.data())
def test_large_ranges_stay_within(size: int, key: str | int, data: st.DataObject) -> None:
    first, second = (data.draw(st.integers(0, size - 1)) for _ in range(2))
    found = permuted(first, size, key), permuted(second, size, key)
    assert all(0 <= place < size for place in found)
    assert (found[0] == found[1]) == (first == second)


@given(size=st.integers(50, 1000), first=keys, second=keys)
def test_keys_name_different_orders(size: int, first: str | int, second: str | int) -> None:
    orders = [[permuted(i, size, key) for i in range(size)] for key in (first, second)]
    assert (orders[0] == orders[1]) == (str(first) == str(second))


def test_the_order_never_changes() -> None:
    """What a checkpoint's position means on another machine, in another version."""
    assert [permuted(i, 10, "a") for i in range(10)] == [3, 6, 2, 7, 4, 9, 5, 0, 8, 1]
    assert [permuted(i, 10, "b") for i in range(10)] == [5, 4, 8, 3, 6, 7, 1, 0, 9, 2]
    assert permuted(123456789, 10**12, 7) == 924587843285


@pytest.mark.parametrize("size", [1000, 1024, 1025, 4096, 5000])
def test_it_shuffles(size: int) -> None:
    """As random.shuffle does: no order left between neighbours, over the range, or between keys."""
    for key in range(5):
        order = [permuted(i, size, key) for i in range(size)]
        other = [permuted(i, size, key + 100) for i in range(size)]
        assert abs(correlation(range(size), order)) < 5 / size**0.5
        assert abs(correlation(order[:-1], order[1:])) < 5 / size**0.5
        assert abs(correlation(order, other)) < 5 / size**0.5
        # of each tenth about a tenth goes to each tenth
        table = [[0] * 10 for _ in range(10)]
        for i, place in enumerate(order):
            table[10 * i // size][10 * place // size] += 1
        expected = size / 100
        chi_square = sum((count - expected) ** 2 / expected for row in table for count in row)
        assert chi_square < 81 + 5 * (2 * 81) ** 0.5


def correlation(first: object, second: object) -> float:
    """Pearson's, of two lists of equal length."""
    import numpy as np

    return float(np.corrcoef(np.array(list(first)), np.array(list(second)))[0, 1])  # type: ignore[call-overload]


@pytest.mark.parametrize("number", [-1, 5])
def test_outside_the_range(number: int) -> None:
    with pytest.raises(IndexError):
        permuted(number, 5, "a")
