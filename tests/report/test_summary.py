from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.config.compose import compose
from slipway.plan import make_plan
from slipway.plan.units import Units
from slipway.report.metrics import Metrics
from slipway.report.summary import layout, smooth, summarize
from slipway.report.table import rows

TRAIN = [
    {"step": step, "loss": loss, "units_per_second": rate, "consumed_samples": 8 * step}
    | {"step_seconds": 2.0, "time": 100.0 * step}
    for step, loss, rate in ((1, 9.0, 10.0), (2, 7.0, 1000.0), (3, 8.0, 20.0))
]
VALIDATION = [{"step": 0, "loss": 9.1, "time": 50.0}, {"step": 2, "loss": 6.5}, {"step": 3, "loss": 6.75}]


def test_rates_are_medians_and_losses_first_last_and_best():
    found = summarize(Metrics(TRAIN, VALIDATION), Units())
    assert (found.step, found.loss) == (3, (9.0, 8.0))
    assert (found.validation_loss, found.best_validation) == ((9.1, 6.75), (2, 6.5))
    assert (found.units_per_second, found.samples_per_second) == (20.0, None)
    assert (found.samples, found.units) == (24, 2 * (10 + 1000 + 20))
    assert found.seconds_in_steps == 6.0
    assert found.wall_seconds == 250.0
    assert found.mfu is None and found.data_wait is None


def test_what_the_mfu_is_held_against_is_told():
    lines = [
        {**line, "mfu": 0.5, "mfu_palm": 0.6, "power_watts": 700.0, "clock_mhz": 1980.0} for line in TRAIN
    ]
    lines = [{**line, "peak_tflops": 0.01 * line["step"], "tflops_per_device": 0.1} for line in lines]
    found = summarize(Metrics(lines, [], peak="measured"), Units())
    assert (found.mfu, found.mfu_palm, found.power_watts, found.clock_mhz) == (0.5, 0.6, 700.0, 1980.0)
    told = dict(rows(found, Units(), None))
    assert "measured" in told["MFU"] and "30 GFLOP/s" in told["MFU"], "the newest"
    assert told["MFU as PaLM counts"].startswith("60.0%")
    assert "700 W" in told["power"] and "1,980 MHz" in told["clock"]
    of_profile = dict(rows(summarize(Metrics(lines, [], peak="profile"), Units()), Units(), None))
    assert "measured" not in of_profile["MFU"] and "30 GFLOP/s" in of_profile["MFU"]


def test_one_validation_is_neither_last_nor_best():
    found = summarize(Metrics(TRAIN[:1], VALIDATION[:1]), Units())
    assert (found.loss, found.validation_loss, found.best_validation) == ((9.0, None), (9.1, None), None)


def test_where_a_samples_size_is_known_units_are_counted_not_estimated():
    plan = make_plan(compose(["experiment=demo"]))
    assert summarize(Metrics(TRAIN, []), Units.of(plan)).units == 24 * 128


def test_measures_are_those_of_the_lines_that_have_them():
    train = [{"step": 1, "loss": 2.0}, {"step": 2, "measures": {"f1": 0.25, "balance": None}}]
    validation = [{"step": 1, "measures": {"f1": 0.5}}, {"step": 2, "measures": {"f1": 0.75}}]
    found = summarize(Metrics(train, validation), Units("image", 1))
    assert found.measures == {"f1": (0.25, None), "balance": (None, None)}
    assert found.validation_measures == {"f1": (0.5, 0.75)}


@pytest.mark.parametrize(
    "overrides, expected",
    [
        (["experiment=demo"], "TP2 × PP2 × DP2"),
        (["model=demo"], "one rank"),
        (["model=demo", "resources.devices_per_node=3", "training.global_batch_size=12"], "DP3"),
    ],
)
def test_layout_names_the_dimensions_in_use(overrides, expected):
    assert layout(make_plan(compose(overrides))) == expected


@given(st.lists(st.floats(-1e3, 1e3), max_size=60), st.integers(0, 9))
def test_smoothing_keeps_length_ends_and_bounds(values, half):
    found = smooth(values, 2 * half + 1)
    assert len(found) == len(values)
    if values:
        assert (found[0], found[-1]) == (values[0], values[-1])
        assert min(values) - 1e-9 <= min(found) and max(found) <= max(values) + 1e-9


def test_smoothing_is_a_centred_mean():
    values = [1.0, 4.0, 2.0, 8.0, 3.0, 5.0, 7.0]
    assert smooth(values, 5)[3] == fmean(values[1:6])
    assert smooth(values, 5)[1] == fmean(values[0:3])
    assert smooth(values, 1) == values
