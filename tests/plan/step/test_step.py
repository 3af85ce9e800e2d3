"""What must hold of any step, and the figures of GPT-3 175B."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from presets import large
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.plan.cost import job_of
from slipway.plan.layout import Grid
from slipway.plan.memory import Share
from slipway.plan.plan import make_plan
from slipway.plan.step.devices import hardware_of
from slipway.plan.step.hardware import Hardware
from slipway.plan.step.stages import Job
from slipway.plan.step.step import StepSeconds, step_seconds


@cache
def base(model: str) -> RunConfig:
    words = ["training.precision=bf16", "training.global_batch_size=1024", "training.micro_batch_size=1"]
    return compose([*large(model, 16, "juwels_booster"), "parallelism=single", *words])


@some.composite
def jobs(draw: some.DrawFn, devices: int = 64) -> tuple[RunConfig, int]:
    """A configuration of some layout, and its number of devices."""
    model = draw(some.sampled_from(["llama3_8b", "mixtral_8x7b"]))
    tp, pp, cp = (draw(some.sampled_from(sizes)) for sizes in ([1, 2, 4], [1, 2, 4], [1, 2]))
    strategy = draw(some.sampled_from([None, "optim_grads", "optim_grads_params"])) if pp == 1 else None
    sharded = strategy is not None or draw(some.booleans())
    overlaps = strategy is not None or draw(some.booleans())
    layout = {
        "tensor_model_parallel_size": tp,
        "pipeline_model_parallel_size": pp,
        "virtual_pipeline_model_parallel_size": draw(some.sampled_from([None, 2])) if pp > 1 else None,
        "context_parallel_size": cp,
        "expert_model_parallel_size": draw(some.sampled_from([1, 2])) if model == "mixtral_8x7b" else 1,
        "sequence_parallel": tp > 1 and draw(some.booleans()),
        "use_distributed_optimizer": sharded,
        "data_parallel_sharding_strategy": strategy,
        "overlap_grad_reduce": overlaps,
        "overlap_param_gather": overlaps and sharded,
    }
    config = base(model)
    recompute = draw(some.sampled_from(["none", "selective", "full"]))
    return config.model_copy(
        update={
            "parallelism": config.parallelism.model_copy(update=layout),
            "training": config.training.model_copy(update={"recompute": recompute}),
        }
    ), devices


def job(config: RunConfig, devices: int) -> Job:
    grid = Grid.of(config.parallelism, devices)
    microbatches = config.training.global_batch_size // (config.training.micro_batch_size * grid.dp)
    return job_of(config, Share.of(config), grid, microbatches)


def of(config: RunConfig) -> Hardware:
    hardware = hardware_of(config)
    assert hardware is not None
    return hardware


def step(config: RunConfig, devices: int, hardware: Hardware | None = None) -> StepSeconds:
    return step_seconds(job(config, devices), hardware or of(config))


@settings(max_examples=60)
@given(jobs())
def test_parts_are_the_total_and_none_is_negative(one: tuple[RunConfig, int]) -> None:
    found = step(*one)
    assert found.total == pytest.approx(sum(found.parts.values()))
    assert min(found.parts.values()) >= 0
    layout = one[0].parallelism
    assert (found.bubble > 0) == (layout.pipeline_model_parallel_size > 1)
    assert (found.tensor_parallel > 0) == (layout.tensor_model_parallel_size > 1)
    assert (found.recompute > 0) == (one[0].training.recompute != "none")


@settings(max_examples=60)
@given(jobs(), some.sampled_from(["inside", "between"]), some.floats(1, 20))
def test_a_faster_link_never_slows_a_step(one: tuple[RunConfig, int], link: str, faster: float) -> None:
    hardware = of(one[0])
    old = getattr(hardware, link)
    quick = hardware.model_copy(update={link: old.model_copy(update={"gb_per_s": old.gb_per_s * faster})})
    assert step(*one, quick).total <= step(*one).total * (1 + 1e-12)


@settings(max_examples=60)
@given(jobs(), some.sampled_from(["peak_tflops", "memory_gb_per_s"]), some.floats(1, 5))
def test_a_faster_device_never_slows_a_step(one: tuple[RunConfig, int], name: str, faster: float) -> None:
    """Exchanges that products hid may show then, but never cost more than the products gain."""
    hardware = of(one[0])
    quick = hardware.model_copy(update={name: getattr(hardware, name) * faster})
    assert step(*one, quick).total <= step(*one).total * (1 + 1e-12)


@settings(max_examples=60)
@given(jobs())
def test_more_devices_make_the_same_work_faster(one: tuple[RunConfig, int]) -> None:
    config, devices = one
    few, more = step(config, devices), step(config, 2 * devices)
    assert more.total < few.total
    assert more.total > few.total / 2.6  # a half of the work; ZeRO's shards are halves, too


@settings(max_examples=30)
@given(jobs())
def test_what_overlaps_is_never_slower(one: tuple[RunConfig, int]) -> None:
    config, devices = one
    if config.parallelism.data_parallel_sharding_strategy:
        return
    off = {"overlap_grad_reduce": False, "overlap_param_gather": False, "overlap_p2p_comm": False}
    waiting = config.model_copy(update={"parallelism": config.parallelism.model_copy(update=off)})
    assert step(config, devices).total <= step(waiting, devices).total * (1 + 1e-12)


def test_stages_that_wait_for_the_last_one() -> None:
    """Fill and drain: with m microbatches and P equal stages (P - 1) / (V m) of the busiest stage's work."""
    config = base("llama3_8b")
    layout = config.parallelism.model_copy(update={"pipeline_model_parallel_size": 4})
    plain = config.model_copy(update={"parallelism": layout})
    interleaved = plain.model_copy(
        update={"parallelism": layout.model_copy(update={"virtual_pipeline_model_parallel_size": 2})}
    )
    one, two = step(plain, 4), step(interleaved, 4)
    work = one.total - one.bubble - one.data_parallel - one.optimizer - 0.01
    assert 0.8 * 3 / 1024 < one.bubble / work < 3 / 1024  # the stage with the head is the busiest
    assert two.bubble == pytest.approx(one.bubble / 2, rel=0.05)


@pytest.mark.parametrize(
    ("devices", "peak", "share", "days"),
    [(1, 125, 28 / 125, 355 * 365.25), (1, 312, 111 / 312, 90 * 365.25), (2000, 312, 114 / 312, 16)],
)
def test_gpt3_175b_on_300_billion_tokens(devices: int, peak: float, share: float, days: float) -> None:
    """355 years on one V100 (at 28 TFLOP/s), 90 on one A100, 16 days on 2,000 A100: the shares that they rest on."""
    words = [*large("gpt3_175b", devices, "slurm"), "parallelism=single", "resources.devices_per_node=1"]
    device = [f"cluster.device.peak_tflops_bf16={peak}", f"cluster.expected_mfu={share}"]
    batch = ["training.global_batch_size=2000", f"training.steps={round(300e9 / 2000 / 2048)}"]
    more = ["training.micro_batch_size=1", "training.recompute=none", "training.precision=bf16"]
    plan = make_plan(compose([*words, *device, *batch, *more]))
    assert plan.time.hours is not None
    assert plan.time.hours / 24 == pytest.approx(days, rel=0.06)
