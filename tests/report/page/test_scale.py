import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.report.page.scale import Scale, round_step, spanning, tick_text

VALUES = st.lists(st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-6), min_size=1)


@given(VALUES, st.booleans())
def test_all_values_lie_within_and_so_do_ticks(values: list[float], zero: bool) -> None:
    scale = spanning(values, zero=zero)
    assert all(-1e-9 <= scale.at(value) <= 1 + 1e-9 for value in values)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(-1e-6 <= scale.at(tick) <= 1 + 1e-6 for tick in ticks)
    if zero:
        assert scale.at(0.0) >= 0


@given(st.lists(st.floats(1e-6, 1e9), min_size=1))
def test_a_logarithmic_scale_keeps_order_and_bounds(values: list[float]) -> None:
    scale = spanning(values, log=True)
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places) and -1e-9 <= places[0] <= places[-1] <= 1 + 1e-9
    assert scale.ticks()


@given(st.floats(1e-12, 1e12))
def test_steps_are_round_and_never_smaller(least: float) -> None:
    step = round_step(least)
    assert least * (1 - 1e-9) <= step <= least * 2.5 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("ticks", "texts"),
    [
        ([0, 2.5, 5, 7.5], ["0", "2.5", "5.0", "7.5"]),
        ([0, 100, 200], ["0", "100", "200"]),
        ([0, 50_000, 100_000], ["0", "50 k", "100 k"]),
        ([0, 2_500_000, 5_000_000], ["0", "2.5 M", "5.0 M"]),
        ([100_000, 100_250], ["100.00 k", "100.25 k"]),
        ([0, 1e-4, 2e-4], ["0", "1e-4", "2e-4"]),
        ([-1, 0, 1], ["-1", "0", "1"]),
        ([0.1], ["0.1"]),
    ],
)
def test_ticks_in_words(ticks: list[float], texts: list[str]) -> None:
    assert [tick_text(tick, ticks) for tick in ticks] == texts


@given(VALUES)
def test_no_two_ticks_have_the_same_words(values: list[float]) -> None:
    ticks = spanning(values).ticks()
    if max(map(abs, ticks)) < 1e15 and min(b - a for a, b in zip(ticks, ticks[1:], strict=False)) > 1e-4:
        texts = [tick_text(tick, ticks) for tick in ticks]
        assert len(set(texts)) == len(texts)


def test_a_scale_of_one_value() -> None:
    for value in (0.0, 3.0, -2.0):
        scale = spanning([value])
        assert isinstance(scale, Scale) and 0 < scale.at(value) < 1
