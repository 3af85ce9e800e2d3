"""What is timed on a device: real work, in the amounts that the constants are taken from."""

import pytest

from slipway.bench.device import fit
from slipway.bench.device.timed import Timed


@pytest.fixture(scope="module")
def found() -> list[Timed]:
    torch = pytest.importorskip("torch")
    from slipway.bench.device import samples

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "SECONDS", 0.002)
        patch.setattr(samples, "SIDES", {"cpu": (32, 64)})
        patch.setattr(samples, "WIDE", {"cpu": (256, 256)})
        patch.setattr(samples, "HEADS", {"cpu": ((64, 2, 16),)})
        patch.setattr(samples, "EXPERTS", {"cpu": (2, 16, 32, 16)})
        return list(samples.device_samples(torch.device("cpu"), torch.float32))


def test_every_product_is_timed_in_the_three_orders_of_a_linear_layer(found: list[Timed]) -> None:
    shapes = {one.shape for one in found if one.kind == "linear"}
    assert shapes == {(m, n, k) for m in (32, 64) for n in (32, 64) for k in (32, 64)}
    assert all(
        one.flop == 2 * one.shape[0] * one.shape[1] * one.shape[2] for one in found if one.kind == "linear"
    )


def test_all_that_the_constants_need_is_there(found: list[Timed]) -> None:
    assert {one.kind for one in found} >= {
        "linear", "grouped", "attention", "attention_backward", "copy", "operators", "small", "small_product",
    }  # fmt: skip
    assert all(one.seconds > 0 for one in found)
    constants = fit.hardware([found], device="CPU", precision="fp32", on_cpu=True)
    assert constants.peak_tflops > 0
