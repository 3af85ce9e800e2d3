import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.bench.scaling.arithmetic import Timing, efficiency, ideal, speed_up, step_time, student

# Minutes of a data-parallel training, and seconds of an epoch of ResNet-152 on BigEarthNet: published strong scalings.
MINUTES = {1: 44.82, 2: 24.07, 4: 14.18, 8: 7.76, 16: 4.42, 32: 2.72, 64: 1.56}
SECONDS = {1: 2550.0, 64: 50.0}

TIMES = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6).map(tuple)


def test_published_strong_scalings() -> None:
    timings = [Timing(devices, (minutes,)) for devices, minutes in MINUTES.items()]
    base, last = timings[0], timings[-1]
    assert round(speed_up(base, last).value, 1) == 28.7
    assert round(efficiency(base, last).value, 2) == 0.45
    shares = [efficiency(base, one).value for one in timings]
    assert shares == sorted(shares, reverse=True) and shares[0] == 1
    one, many = (Timing(nodes, (seconds,)) for nodes, seconds in SECONDS.items())
    assert round(efficiency(one, many).value, 2) == 0.80
    assert (efficiency(one, many).low, speed_up(one, many).high) == (None, None)  # measured once


def test_work_that_grows_counts() -> None:
    """Weak scaling: twice the samples in the same time on twice the devices is all that there is to gain."""
    base, twice = Timing(4, (2.0, 2.0), work=8), Timing(8, (2.0, 2.0), work=16)
    assert (speed_up(base, twice).value, ideal(base, twice)) == (pytest.approx(2), 2)
    assert efficiency(base, twice).value == pytest.approx(1)
    slower = Timing(8, (2.5, 2.5), work=16)
    assert efficiency(base, slower).value == pytest.approx(0.8)


# 0.975 quantiles as printed in tables, e.g. NIST's handbook, 1.3.6.7.2
@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (29, 2.045), (100, 1.984)],
)
def test_quantiles(freedom: int, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, abs=6e-4)
    assert student(freedom + 0.9) == student(freedom)


def test_an_interval_by_hand() -> None:
    """Logarithms -1, 0, 1: mean 0, variance 1, standard error 1 / sqrt(3), two degrees of freedom."""
    found = step_time(Timing(1, (math.exp(-1), 1.0, math.exp(1))))
    assert found.value == pytest.approx(1)
    assert found.low and found.high
    assert math.log(found.high) == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)
    assert found.low == pytest.approx(1 / found.high)


def test_a_slow_hour_that_meets_both_cancels() -> None:
    """The second repeat takes five times as long at either size: nothing is uncertain about their ratio."""
    found = speed_up(Timing(1, (4.0, 20.0, 4.0)), Timing(2, (2.0, 10.0, 2.0)))
    assert (found.value, found.low, found.high) == (pytest.approx(2),) * 3
    ratios = Timing(1, (math.exp(1), 1.0, math.exp(-1)))
    found = speed_up(ratios, Timing(2, (1.0, 1.0, 1.0)))
    assert found.high and math.log(found.high) == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)


def test_welchs_interval_where_there_are_no_pairs() -> None:
    """Variances of the means 1/3 and 1/4 with 2 and 3 degrees of freedom: (7/12)^2 / (1/18 + 1/48) = 4.45, so 4."""
    half = math.sqrt(0.75)  # the variance of -half, -half, half, half is 1
    found = speed_up(
        Timing(1, tuple(map(math.exp, (0.0, 1.0, 2.0)))),
        Timing(2, tuple(map(math.exp, (-half, -half, half, half)))),
    )
    assert found.high and math.log(found.value) == pytest.approx(1)
    assert math.log(found.high / found.value) == pytest.approx(2.776 * math.sqrt(7 / 12), abs=1e-3)


@given(TIMES, TIMES, st.floats(1e-3, 1e3))
def test_only_ratios_count(here: tuple[float, ...], there: tuple[float, ...], unit: float) -> None:
    """Another unit of time changes nothing, and neither direction is preferred."""
    base, other = Timing(1, here), Timing(2, there)
    found = speed_up(base, other)
    scaled = speed_up(Timing(1, tuple(unit * s for s in here)), Timing(2, tuple(unit * s for s in there)))
    assert scaled.value == pytest.approx(found.value)
    assert found.value * speed_up(other, base).value == pytest.approx(1)
    if found.low is not None and found.high is not None:
        assert found.low <= found.value <= found.high
