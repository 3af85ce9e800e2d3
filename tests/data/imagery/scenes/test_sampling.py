"""Bands of other resolutions on a chip's grid, compared with rules that are written out pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.data.imagery.scenes.sampling import nearest, resample, taps


def averaged(values: np.ndarray, ratio: float, count: int) -> np.ndarray:
    """Area-weighted means along an axis, interval by interval."""
    found = []
    for i in range(count):
        begin, end = i * ratio, (i + 1) * ratio
        parts = [
            (min(end, k + 1) - max(begin, k), values[k])
            for k in range(len(values))
            if min(end, k + 1) - max(begin, k) > 1e-9
        ]
        found.append(sum(weight * value for weight, value in parts) / sum(weight for weight, _ in parts))
    return np.array(found)


@given(
    st.sampled_from([(10, 20), (20, 30), (10, 30), (30, 30), (20, 50)]),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
)
def test_finer_bands_are_averaged_over_the_area(sizes: tuple[int, int], count: int, seed: int) -> None:
    fine, coarse = sizes
    length = int(count * coarse / fine)
    count = int(length * fine / coarse)
    if not count:
        return
    values = np.random.default_rng(seed).integers(-2000, 16000, (length, length)).astype(float)
    axis = taps(0, count, coarse, fine, length)
    found, known = resample(values, np.ones(values.shape, bool), axis, axis)
    rows = averaged(values, coarse / fine, count)
    expected = averaged(rows.T, coarse / fine, count).T
    assert known.all()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=0.05)


@pytest.mark.parametrize(("fine", "coarse"), [(10, 20), (20, 60), (20, 30)])
def test_coarser_bands_are_interpolated_between_centres(fine: int, coarse: int) -> None:
    """A plane stays a plane, but for the edges."""
    size = 12
    count = size * coarse // fine
    centre = (np.arange(size) + 0.5) * coarse
    plane = 3 * centre[:, None] + 5 * centre[None]
    axis = taps(0, count, fine, coarse, size)
    found, _ = resample(plane, np.ones(plane.shape, bool), axis, axis)
    here = (np.arange(count) + 0.5) * fine
    inner = (here >= centre[0]) & (here <= centre[-1])
    expected = 3 * here[:, None] + 5 * here[None]
    np.testing.assert_allclose(found[np.ix_(inner, inner)], expected[np.ix_(inner, inner)], rtol=1e-5)
    assert found.min() >= plane.min() and found.max() <= plane.max()


@given(st.integers(0, 35), st.integers(1, 12), st.sampled_from([(10, 20), (20, 10), (30, 20), (20, 30)]))
def test_a_part_equals_the_part_of_the_whole(first: int, count: int, sizes: tuple[int, int]) -> None:
    """Rows that are read apart are the same as in one piece."""
    target, source = sizes
    whole = 48
    length = whole * target // source
    values = np.random.default_rng(0).normal(size=(length, 4))
    known = np.random.default_rng(1).random((length, 4)) > 0.1
    end = min(first + count, whole)
    columns = taps(0, 4, 30, 30, 4)
    all_rows = resample(values, known, taps(0, whole, target, source, length), columns)
    rows = taps(first, end, target, source, length)
    part = slice(rows.first, rows.end)
    some = resample(values[part], known[part], rows._replace(index=rows.index - rows.first), columns)
    for one, other in zip(some, all_rows, strict=True):
        np.testing.assert_array_equal(one, other[first:end])


@pytest.mark.parametrize(("target", "source"), [(20, 10), (30, 20), (10, 20), (20, 60)])
def test_nodata_is_never_mixed(target: int, source: int) -> None:
    size = 60 // source * 4
    count = 240 // target
    values = np.full((size, size), 1000.0)
    values[size // 2, size // 2] = -9999
    known = values != -9999
    axis = taps(0, count, target, source, size)
    found, of_found = resample(values, known, axis, axis)
    assert 0 < (~of_found).sum() < count * count / 2
    assert (found[of_found] == 1000).all()


def test_masks_are_taken_from_the_pixel_that_holds_the_centre() -> None:
    assert nearest(0, 3, 30, 10, 9).tolist() == [1, 4, 7]
    assert nearest(0, 6, 10, 20, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert nearest(2, 4, 20, 20, 9).tolist() == [2, 3]
    assert nearest(0, 4, 30, 20, 6).tolist() == [0, 2, 3, 5]
