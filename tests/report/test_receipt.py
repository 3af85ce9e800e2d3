"""The receipt: what of a plan can be held against what of a profile, and what the difference is made of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.metrics.step_time import KINDS
from slipway.report import receipt
from slipway.report.metrics import Metrics
from slipway.report.receipt import PARTS, Line, Receipt

SECONDS: dict[str, float] = dict(zip(KINDS, (0.4, 0.1, 0.2, 0.1, 0.15, 0.05), strict=True))
PLAN = dict.fromkeys(PARTS, 0.0) | {"products": 0.4, "memory_bound": 0.2, "optimizer": 0.05, "host": 0.02}


def metrics(seconds: dict | None = None, steps: int = 7, step_seconds: float = 1.0, **more: Any) -> Metrics:
    """Steps 3 to 6 ran under the profiler and took three times as long."""
    train = [
        {
            "kind": "train",
            "step": step,
            "step_seconds": step_seconds * (3 if seconds and 3 <= step <= 6 else 1),
            **more,
        }
        for step in range(1, steps + 1)
    ]
    profile = {"kind": "profile", "step": 6, "first": 3, "steps": 3, "seconds": seconds}
    return Metrics(train, [], others=[profile] if seconds else [])


def by_kind(
    parts: dict[str, float], sizes: dict[str, int], seconds: dict[str, float] = SECONDS
) -> list[Line]:
    return receipt._by_kind(parts, sizes, seconds)


def test_steps_under_the_profiler_do_not_count() -> None:
    found = receipt.make(None, metrics(SECONDS))
    assert found.measured == 1.0 and found.profile and found.profile.total == pytest.approx(1.0)
    assert receipt.make(None, metrics()).measured == 1.0
    assert receipt.make(None, Metrics([{"step": 1}], [])).measured is None


@pytest.mark.parametrize(
    ("parts", "sizes", "expected"),
    [
        ({}, {}, ["products", "memory_bound", "", "optimizer", "host"]),
        ({}, {"DP": 2}, ["products", "memory_bound", "data_parallel", "optimizer", "host"]),
        (
            {},
            {"TP": 2, "DP": 2, "PP": 2},
            [
                *(
                    "products",
                    "memory_bound",
                    "tensor_parallel+data_parallel",
                    "optimizer",
                    "host+bubble+pipeline_parallel",
                )
            ],
        ),
        (
            {"recompute": 0.1},
            {"DP": 2},
            ["products+memory_bound+recompute", "data_parallel", "optimizer", "host"],
        ),
        (
            {"recompute": 0.1},
            {"TP": 2, "DP": 2},
            ["products+memory_bound+recompute+tensor_parallel+data_parallel", "optimizer", "host"],
        ),
    ],
)
def test_a_line_is_as_fine_as_the_profile_can_tell(parts: dict, sizes: dict, expected: list[str]) -> None:
    assert ["+".join(line.parts) for line in by_kind(PLAN | parts, sizes)] == expected


def test_lines_of_several_parts_have_short_names() -> None:
    lines = by_kind(PLAN, {"TP": 2, "DP": 2, "PP": 2})
    assert [line.name for line in lines][2:] == [
        "exchange (tensor, data)",
        "optimizer",
        "host, pipeline bubble, exchange between stages",
    ]
    names = [line.name for line in by_kind(PLAN | {"recompute": 0.1}, {"TP": 2})]
    assert names[0] == "computing, what is computed again included + exchange (tensor)"
    assert len(set(names)) == len(names)


@given(
    st.fixed_dictionaries({part: st.floats(0, 10) for part in PARTS}),
    st.fixed_dictionaries({kind: st.floats(0.001, 10) for kind in KINDS}),
    st.floats(0.01, 100),
    st.sampled_from([{}, {"TP": 2}, {"TP": 2, "CP": 2, "EP": 2, "DP": 2, "PP": 2}, {"PP": 4}]),
)
def test_parts_sum_to_totals(parts: dict, seconds: dict, usual: float, sizes: dict) -> None:
    """Measured lines add up to the usual step, planned ones to the parts that are told; no part is in two."""
    profile = receipt.Profile(range(3, 7), 3, seconds)
    lines = by_kind(parts, sizes, receipt._as_usual(profile, usual))
    assert sum(line.measured or 0.0 for line in lines) == pytest.approx(usual)
    assert all(line.measured is not None and line.measured >= 0 for line in lines)
    told = [part for line in lines for part in line.parts]
    assert len(told) == len(set(told))
    assert sum(line.predicted or 0.0 for line in lines) == pytest.approx(sum(parts[part] for part in told))


def test_the_profilers_own_time_is_taken_for_waiting() -> None:
    slower = SECONDS | {"waiting": 0.65}
    found = receipt._as_usual(receipt.Profile(range(3, 7), 3, slower), 1.0)
    assert found == pytest.approx(SECONDS)
    quicker = receipt._as_usual(receipt.Profile(range(3, 7), 3, SECONDS), 1.25)
    assert quicker == pytest.approx({**SECONDS, receipt.NOT_SEEN: 0.25})


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), max_size=8), st.floats(0.5, 10), st.floats(0.5, 10)
)
def test_the_attribution_adds_up_to_the_difference(pairs: list, planned: float, measured: float) -> None:
    lines = [Line(f"part {at}", (), *pair) for at, pair in enumerate(pairs)]
    shares = receipt.attribution(Receipt(planned, measured, None, lines, None))
    assert sum(share for _, share in shares) == pytest.approx(measured / planned - 1, abs=0.005)
    assert [name for name, _ in shares[:-1]].count("not attributed") == 0


def test_the_attribution_in_numbers() -> None:
    lines = [
        Line("exchange", ("tensor_parallel",), 0.10, 0.25),
        Line("host", ("host",), 0.05, 0.10),
        Line("products", ("products",), 0.80, 0.801),  # below what is worth a word
    ]
    shares = receipt.attribution(Receipt(1.0, 1.23, None, lines, None))
    assert [name for name, _ in shares] == ["exchange", "host", "not attributed"]
    assert [share for _, share in shares] == pytest.approx([0.15, 0.05, 0.03])
    waiting = receipt.attribution(Receipt(1.0, 1.23, 0.2, [Line("products", (), 1.0, None)], None))
    assert waiting == [("waiting for samples", pytest.approx(0.2)), ("not attributed", pytest.approx(0.03))]
    assert receipt.attribution(Receipt(None, 1.0, 0.5, lines, None)) == []


@pytest.mark.parametrize(
    "spoilt",
    [{"steps": 0}, {"steps": "3"}, {"first": None}, {"seconds": [1]}, {"seconds": {"matmul": 1.0}}]
    + [{"seconds": dict.fromkeys(KINDS, 0.0)}, {"seconds": SECONDS | {"waiting": -1.0}}],
)
def test_a_profile_that_is_none_is_left_out(spoilt: dict) -> None:
    line = {"kind": "profile", "step": 6, "first": 3, "steps": 3, "seconds": SECONDS}
    train = metrics().train
    assert receipt.make(None, Metrics(train, [], others=[line])).profile
    assert receipt.make(None, Metrics(train, [], others=[line | spoilt])).profile is None
