"""The peak that a step is held against: the profile's by precision, or the best that was measured."""

import time
from collections.abc import Iterator

import pytest
import torch

from slipway.config.compose import compose
from slipway.train import peak
from slipway.train.peak import Peak

CPU = torch.device("cpu")


@pytest.fixture
def one_rank() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("cluster", "overrides", "tflops", "precision"),
    [
        ("h100_cloud", ["training.precision=fp32"], 67.0, "fp32"),
        ("h100_cloud", ["training.precision=bf16"], 989.0, "bf16"),
        ("h100_cloud", ["training.precision=bf16", "training.fp8=hybrid"], 1979.0, "fp8"),
        (
            "leonardo_booster",
            ["training.precision=bf16", "training.fp8=hybrid"],
            312.0,
            "bf16",
        ),  # knows no FP8
    ],
)
def test_a_profiles_peak_is_that_of_the_precision(
    cluster: str, overrides: list[str], tflops: float, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "_Product", None)  # nothing is measured
    found = Peak(compose([f"cluster={cluster}", *overrides]), CPU)
    found.after(1)
    assert (found.tflops, found.precision, found.measured) == (tflops, precision, False)
    assert found.in_words() == {"peak": "profile", "peak_precision": precision}


class Told:
    """Stands in for the products of a precision: each measurement has the windows that a test tells."""

    asked: list[int] = []

    def __init__(self, windows: dict[torch.dtype, list[list[float]]], dtype: torch.dtype) -> None:
        self.windows = windows[dtype]
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]

    def tflops(self, start: float, windows: int) -> list[float]:
        self.asked.append(windows)
        return self.windows.pop(0)


def tell(monkeypatch: pytest.MonkeyPatch, windows: dict[torch.dtype, list[list[float]]]) -> None:
    monkeypatch.setattr(Told, "asked", [])
    monkeypatch.setattr(peak, "_Product", lambda dtype, device: Told(windows, dtype))


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize(("precision", "tflops"), [("fp32", 0.5), ("bf16", 0.75)])
def test_where_there_is_none_the_best_window_of_the_faster_product_counts(
    precision: str, tflops: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, {torch.float32: [[0.1, 0.5, 0.2]], torch.bfloat16: [[0.75, 0.01]]})
    found = Peak(compose([f"training.precision={precision}"]), CPU)
    assert (found.tflops, found.measured) == (tflops, True)
    assert found.in_words() == {"peak": "measured", "peak_precision": precision}


@pytest.mark.usefixtures("one_rank")
def test_a_cpus_peak_rises_where_later_windows_are_better(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, {torch.float32: [[0.01], [0.3], [0.2], [0.4]]})
    found = Peak(compose([]), CPU)
    seen = []
    for step in range(1, 8):
        found.after(step)
        seen.append(found.tflops)
    assert seen == [0.3, 0.3, 0.3, 0.4, 0.4, 0.4, 0.4]  # after steps 1, 2 and 4
    assert Told.asked == [peak.AT_THE_START, *[peak.LATER] * 3]


@pytest.mark.usefixtures("one_rank")
def test_where_ranks_waited_for_a_core_through_all_windows_they_measure_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A peak of zero would end the run: a step's rate is divided by it."""
    tell(monkeypatch, {torch.float32: [[0.0, 0.0], [0.0, 0.0], [0.2, 0.1], [0.0, 0.0]]})
    found = Peak(compose([]), CPU)
    assert found.tflops == 0.2 and Told.asked == [peak.AT_THE_START] * 3
    found.after(1)
    assert found.tflops == 0.2 and Told.asked[3:] == [peak.LATER], "one is known by now"


def test_a_rank_that_comes_after_all_windows_has_measured_nothing() -> None:
    product = peak._Product(torch.float32, CPU)
    assert product.tflops(time.perf_counter() - 1.0, 3) == [0.0] * 3


def test_a_window_holds_the_products_that_ran_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 4 ms, but the fourth is held up until 36 ms: what ran over a border counts on either side."""
    ends = iter([1.0, 1.004, 1.008, 1.012, 1.036, 1.040, 1.044])
    product = peak._Product(torch.float32, CPU)
    monkeypatch.setattr(product, "_run", lambda: None)
    monkeypatch.setattr(peak.time, "perf_counter", lambda: next(ends))
    flop = 2 * product.size**3 / peak.WINDOW / 1e12
    expected = [2.5, 0.25 + 9 / 24, 10 / 24, 5 / 24 + 1.25]
    assert product.tflops(1.001, 4) == pytest.approx([flop * number for number in expected])


def test_a_product_is_measured_and_draws_nothing_from_trainings_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = peak._Product(torch.float32, CPU).tflops(time.perf_counter(), 2)
    assert len(found) == 2 and all(rate > 0 for rate in found)
    assert torch.equal(torch.get_rng_state(), before)
