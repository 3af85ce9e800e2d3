"""What a step's seconds amount to, and the peak that they are held against."""

from collections.abc import Iterator

import pytest
import torch

from slipway.config.compose import compose
from slipway.plan import make_plan
from slipway.train import throughput
from slipway.train.throughput import peak_tflops, rates

CPU = torch.device("cpu")


@pytest.fixture
def one_rank() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_rates_of_a_step() -> None:
    """Sixteen samples of 128 tokens in half a second, on eight devices of 0.1 TFLOP/s."""
    plan = make_plan(compose(["experiment=demo"])).model_copy(update={"flops_per_step": 200 * 10**9})
    assert rates(plan, 0.5, 0.1) == {
        "step_seconds": 0.5,
        "samples_per_second": 32.0,
        "units_per_second": 32.0 * 128,
        "tflops_per_device": pytest.approx(0.05),
        "mfu": pytest.approx(0.5),
    }
    images = rates(plan.model_copy(update={"unit": "image", "units_per_sample": 1}), 0.5, 0.1)
    assert images["units_per_second"] == images["samples_per_second"] == 32.0


def test_work_of_a_step_is_that_of_its_samples() -> None:
    plan = make_plan(compose(["experiment=demo"]))
    achieved = rates(plan, 2.0, 1.0)["tflops_per_device"]
    assert achieved == pytest.approx(plan.flops_per_sample * 16 / 2.0 / 8 / 1e12)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_profiles_peak_is_that_of_the_precision(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_matmul_tflops", None)  # nothing is measured
    config = compose(["cluster=h100_cloud", f"training.precision={precision}"])
    device = config.cluster.device
    expected = device.peak_tflops_bf16 if precision == "bf16" else device.peak_tflops_fp32
    assert expected and peak_tflops(config, CPU) == expected


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize(("precision", "peak"), [("fp32", 0.5), ("bf16", 0.75)])
def test_where_there_is_none_the_faster_product_counts(
    precision: str, peak: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {torch.float32: 0.5, torch.bfloat16: 0.75}
    monkeypatch.setattr(throughput, "_matmul_tflops", lambda dtype, device: measured[dtype])
    assert peak_tflops(compose([f"training.precision={precision}"]), CPU) == peak


def test_a_product_is_measured_and_draws_nothing_from_trainings_generator() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert throughput._matmul_tflops(torch.float32, CPU, seconds=0.01) > 0
    assert torch.equal(torch.get_rng_state(), before)
