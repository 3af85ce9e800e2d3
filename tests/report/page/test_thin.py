from hypothesis import given
from hypothesis import strategies as st

from slipway.report.page.thin import thin

CURVES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


@given(CURVES, st.integers(4, 40))
def test_ends_and_extremes_stay_in_order(ys: list[float], most: int) -> None:
    xs = list(range(len(ys)))
    kept_x, kept_y = thin(xs, ys, most)
    assert len(kept_x) == len(kept_y) <= most
    assert list(kept_x) == sorted(set(kept_x))
    assert [ys[int(x)] for x in kept_x] == list(kept_y)
    assert (kept_x[0], kept_x[-1]) == (0, len(ys) - 1)
    assert (min(kept_y), max(kept_y)) == (min(ys), max(ys))


def test_a_short_curve_is_whole() -> None:
    assert thin([1, 2, 3], [5.0, 4.0, 6.0], 4) == ([1, 2, 3], [5.0, 4.0, 6.0])
