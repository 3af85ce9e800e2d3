import pytest

from presets import large
from slipway.config.compose import compose
from slipway.plan.cost import pipeline_bubble, recompute_factor
from slipway.plan.plan import make_plan


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
    assert time.seconds_per_step is not None and time.hours is not None and time.mfu is not None
    assert time.hours == pytest.approx(time.seconds_per_step * 286102 / 3600)
    assert time.device_hours == pytest.approx(time.hours * 32)
    assert time.energy_kwh == pytest.approx(time.hours * 32 * 0.7)  # an H100 has 700 W
    assert time.step is not None and time.step.total == time.seconds_per_step
    done = plan.flops_per_step / (32 * 989e12 * time.seconds_per_step)
    assert time.mfu == pytest.approx(done) and 0.2 < done < 0.7


def test_a_share_of_the_peak_overrides_the_model() -> None:
    plan = make_plan(compose([*large("gpt3_1_3b", nodes=4), "cluster.expected_mfu=0.4"]))
    assert plan.time.step is None and "cluster.expected_mfu" in plan.time.assumption
    assert plan.time.seconds_per_step == pytest.approx(plan.flops_per_step / (32 * 989e12 * 0.4))


@pytest.mark.parametrize(("precision", "peak"), [("fp32", 19.5), ("bf16", 312)])
def test_precision_chooses_the_peak(precision: str, peak: float) -> None:
    config = compose(["cluster=juwels_booster", f"training.precision={precision}"])
    assert make_plan(config).time.peak_tflops == peak


def test_no_peak_no_time() -> None:
    time = make_plan(compose(["experiment=demo"])).time
    assert (time.seconds_per_step, time.hours, time.device_hours) == (None, None, None)
