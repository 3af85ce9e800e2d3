import pytest

from presets import large
from slipway.config.compose import compose
from slipway.models.family import Sample
from slipway.plan.cost import estimate, pipeline_bubble, recompute_factor
from slipway.plan.plan import make_plan

SAMPLE = Sample(units=1, flops=10**12, active_parameters=1)


def test_bubble() -> None:
    assert pipeline_bubble(1, 1, 4) == 0
    assert pipeline_bubble(8, 1, 64) == 7 / 64
    assert pipeline_bubble(8, 3, 64) == 7 / 192


def test_recomputation() -> None:
    assert recompute_factor(6, 0) == 1
    assert recompute_factor(6, 2) == pytest.approx(4 / 3)


def test_a_plan_counts_what_is_done_again() -> None:
    """Whole layers: a third of all but the head's products; norms and activations: no product."""

    def factor(*words: str) -> float:
        return make_plan(compose([*large("llama3_8b", 2), *words])).time.recompute_factor

    assert factor("training.recompute=none") == factor("training.recompute=selective") == 1
    sample = make_plan(compose(large("llama3_8b", 2)))
    head = 6 * 4096 * 128_256 * 8192 / sample.flops_per_sample
    assert factor("training.recompute=full") == pytest.approx(1 + (1 - head) / 3)
    first = 2 * 2 * 4096 * 14336 * 32 * 8192 / sample.flops_per_sample
    chosen = ["training.recompute=selective", "training.recompute_modules=[norm,mlp]"]
    assert factor(*chosen) == pytest.approx(1 + first)


def test_published_step_time() -> None:
    """arXiv 2205.05198, table 5: 175B on 64 A100, batch 64: 13.75 s, 51.4 % of the peak with the bubble."""
    words = ["training.global_batch_size=64", "model.vocab_size=51200"]
    config = compose([*large("gpt3_175b", 16, "juwels_booster"), *words])
    bubble = pipeline_bubble(8, 3, 64)
    busy = config.cluster.model_copy(update={"expected_mfu": 0.514 * (1 + bubble)})
    plan = make_plan(config.model_copy(update={"cluster": busy}))
    assert plan.time.seconds_per_step == pytest.approx(13.75, rel=0.01)


def test_hours_and_device_hours() -> None:
    plan = make_plan(compose(large("gpt3_1_3b", nodes=4)))
    time = plan.time
    assert time.seconds_per_step is not None and time.hours is not None
    assert time.hours == pytest.approx(time.seconds_per_step * 286102 / 3600)
    assert time.device_hours == pytest.approx(time.hours * 32)
    assert "40%" in time.assumption and "cluster.expected_mfu" in time.assumption


def test_precision_chooses_the_peak() -> None:
    config = compose(["cluster=juwels_booster", "training.precision=fp32"])
    assert estimate(config, 1, 1, SAMPLE).peak_tflops == 19.5
    config = compose(["cluster=juwels_booster", "training.precision=bf16"])
    assert estimate(config, 1, 1, SAMPLE).peak_tflops == 312


def test_no_peak_no_time() -> None:
    time = make_plan(compose(["experiment=demo"])).time
    assert (time.seconds_per_step, time.hours, time.device_hours) == (None, None, None)
