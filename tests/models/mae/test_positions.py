"""Encodings of where and when, number by number."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.models.mae import positions


def code(position: float, width: int) -> list[float]:
    angles = [position / 10000 ** (2 * i / width) for i in range(width // 2)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]


@given(st.tuples(*[st.integers(1, 5)] * 3), st.sampled_from([16, 32, 80]))
def test_a_patch_is_told_its_column_its_row_and_its_time(grid: tuple[int, int, int], width: int) -> None:
    table = positions.of_patches(grid, width)
    times, rows, columns = grid
    assert table.dtype == torch.float32 and table.shape == (times * rows * columns, width)
    expected = [
        code(column, width * 6 // 16) + code(row, width * 6 // 16) + code(time, width * 4 // 16)
        for time in range(times)
        for row in range(rows)
        for column in range(columns)
    ]
    assert torch.allclose(table.double(), torch.tensor(expected, dtype=torch.float64), atol=1e-7)


@given(st.integers(1980, 2040), st.integers(1, 366))
def test_dates_in_fp32_are_told_apart(year: int, day: int) -> None:
    found = positions.of_pairs(torch.tensor([year, day], dtype=torch.float32), 64)
    assert found.dtype == torch.float32
    expected = torch.tensor(code(year, 32) + code(day, 32))
    assert torch.allclose(found, expected, atol=3e-4)  # fp32 holds 2018 x frequency to 1.2e-4
    next_year = positions.of_pairs(torch.tensor([year + 1.0, day]), 64)
    assert float((next_year - found).abs().max()) > 0.4


def test_bf16_could_not() -> None:
    assert torch.tensor(2018.0).bfloat16() == torch.tensor(2016.0)
    pairs = torch.tensor([[2018.0, 100.0], [48.137, 11.575]])
    assert positions.of_pairs(pairs, 32).dtype == torch.float32
    assert positions.of_pairs(pairs[1], 32).tolist() == pytest.approx(
        code(48.137, 16) + code(11.575, 16), abs=1e-4
    )
