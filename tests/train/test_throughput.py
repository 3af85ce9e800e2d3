"""What a step's seconds amount to."""

import pytest

from slipway.config.compose import compose
from slipway.models import family
from slipway.models.gpt.config import gpt_of
from slipway.plan import make_plan
from slipway.train.throughput import rates


def test_rates_of_a_step() -> None:
    """Sixteen samples of 128 tokens in half a second, on eight devices of 0.1 TFLOP/s."""
    plan = make_plan(compose(["experiment=demo"])).model_copy(update={"flops_per_step": 200 * 10**9})
    found = rates(plan, 0.5, 0.1)
    palm, counted = found.pop("mfu_palm"), family(plan.config).sample(plan.config).palm_flops
    assert counted and palm == pytest.approx(counted * 16 / 0.5 / 8 / 1e12 / 0.1)
    assert found == {
        "step_seconds": 0.5,
        "samples_per_second": 32.0,
        "units_per_second": 32.0 * 128,
        "tflops_per_device": pytest.approx(0.05),
        "mfu": pytest.approx(0.5),
        "peak_tflops": 0.1,
    }
    images = rates(plan.model_copy(update={"unit": "image", "units_per_sample": 1}), 0.5, 0.1)
    assert images["units_per_second"] == images["samples_per_second"] == 32.0


def test_work_of_a_step_is_that_of_its_samples() -> None:
    plan = make_plan(compose(["experiment=demo"]))
    achieved = rates(plan, 2.0, 1.0)["tflops_per_device"]
    assert achieved == pytest.approx(plan.flops_per_sample * 16 / 2.0 / 8 / 1e12)


def test_documents_apart_are_counted_as_computed() -> None:
    plan = make_plan(compose(["experiment=demo", "data.reset_attention_mask=true"]))
    model = gpt_of(plan.config)
    whole, quarter = rates(plan, 1.0, 1.0), rates(plan, 1.0, 1.0, attended=0.25)
    attention = 16 * 12 * model.num_layers * model.hidden_size * 128**2 / 8 / 1e12
    for name in ("mfu", "mfu_palm"):
        assert whole[name] - quarter[name] == pytest.approx(0.75 * attention), name
    assert quarter["attended"] == 0.25 and "attended" not in whole
