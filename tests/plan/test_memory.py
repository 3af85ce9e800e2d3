import pytest

from presets import large
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.data.text.config import text_of
from slipway.models import family
from slipway.models.family import Layer
from slipway.models.gpt.config import gpt_of
from slipway.plan import switches
from slipway.plan.layout import Grid, chunks_in_flight
from slipway.plan.memory import Share, stage_memory
from slipway.plan.plan import make_plan

DEMO = ["experiment=demo", "training.micro_batch_size=2"]  # batch 16: four microbatches on 8 ranks


def memory(*overrides: str, stage: int = 0):
    plan = make_plan(compose([*DEMO, *overrides]))
    return plan.memory.stages[stage], plan.stages[stage].parameters


def test_bytes_per_parameter_fp32() -> None:
    stage, parameters = memory("parallelism.use_distributed_optimizer=false")
    assert (stage.parameters, stage.gradients, stage.optimizer_states) == (
        4 * parameters,
        4 * parameters,
        8 * parameters,
    )


def test_bytes_per_parameter_bf16() -> None:
    stage, parameters = memory("parallelism.use_distributed_optimizer=false", "training.precision=bf16")
    assert (stage.parameters, stage.gradients, stage.optimizer_states) == (
        2 * parameters,
        4 * parameters,
        12 * parameters,
    )


def test_the_distributed_optimizer_shares_states_over_replicas() -> None:
    stage, parameters = memory("training.precision=bf16")
    assert stage.optimizer_states == 12 * parameters // 2
    stage, parameters = memory("training.precision=bf16", "resources.devices_per_node=16")
    assert stage.optimizer_states == 12 * parameters // 4


@pytest.mark.parametrize(
    ("preset", "parts"), [("zero2", (2, 4 / 8, 12 / 8)), ("zero3", (2 / 8, 4 / 8, 12 / 8))]
)
def test_sharded_bytes_per_parameter(preset: str, parts: tuple[float, ...]) -> None:
    """arXiv 1910.02054, section 5: each sharded part is divided by the data-parallel size, here 8."""
    stage, parameters = memory(f"parallelism={preset}", "training.precision=bf16")
    assert parameters % 8 == 0
    held = (stage.parameters, stage.gradients, stage.optimizer_states)
    assert held == tuple(part * parameters for part in parts)


def test_of_a_small_model_all_gradients_are_whole() -> None:
    """In one bucket, from the first one on."""
    words = ["parallelism=zero2", "training.micro_batch_size=1", "data.sequence_length=32"]
    stage, parameters = memory(*words)
    assert stage.gathered == 4 * parameters


def test_of_a_large_model_there_is_what_is_gathered_ahead() -> None:
    """The tables, a block and 5e8 parameters; and gradients of tables and block, or what waits at the end."""
    config = compose([*large("llama3_8b", 16), "parallelism=zero3"])
    tables, block, whole = 2 * 128_256 * 4096 + 4096, 218_112_000, 8_030_261_248
    ahead, first = 2 * (tables + block + 5 * 10**8), 4 * (tables + block)
    left = 2 * tables + (ahead - 2 * tables) * (whole - 10**9) // whole
    plan = make_plan(config)
    assert plan.memory.stages[0].gathered in (ahead, ahead + first, left + 4 * 10**9)
    assert plan.memory.largest == plan.memory.stages[0].total
    plan = make_plan(compose([*large("llama3_8b", 16), "parallelism=dp"]))
    assert plan.memory.stages[0].gathered == 0


def test_sharded_fp32_keeps_a_copy() -> None:
    stage, parameters = memory("parallelism=zero3")
    assert stage.parameters == stage.gradients == 4 * parameters // 8
    assert stage.optimizer_states == 12 * parameters // 8


def test_context_parallel_ranks_share_too() -> None:
    stage, parameters = memory("parallelism=zero3", "parallelism.context_parallel_size=2")
    assert stage.gradients == 4 * parameters // 8


def test_experts_have_fewer_replicas_than_the_rest() -> None:
    config = compose(
        [
            *large("mixtral_8x7b", nodes=2),
            "parallelism=tp2",
            "parallelism.expert_model_parallel_size=4",
        ]
    )
    grid = Grid.of(config.parallelism, 16)
    share = Share.of(config)
    shard = share.parameters(grid, 0)
    # 8 replicas of what is dense, 2 of each expert
    assert stage_memory(config, share, grid, 0, 1).optimizer_states == 12 * (
        shard.dense // 8 + shard.expert // 2
    )
    assert shard.expert == 32 * (8 // 4) * 3 * 4096 * 14336 // 2


def layer(config: RunConfig) -> Layer:
    return family(config).layers(config, config.parallelism)[1]


def test_earlier_stages_hold_more_microbatches() -> None:
    config = compose([*DEMO, "resources.devices_per_node=16", "parallelism.pipeline_model_parallel_size=4"])
    stages = make_plan(config).memory.stages
    assert [stage.activations // layer(config).kept_bytes for stage in stages[:3]] == [4, 3, 2]


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_a_step_of_one_microbatch_keeps_one(recompute: str) -> None:
    config = compose([*DEMO, "training.global_batch_size=4", f"training.recompute={recompute}"])
    plain = compose([*DEMO, "training.global_batch_size=4", "training.recompute=none"])
    one, whole = layer(config).kept_bytes, layer(plain).kept_bytes
    # of two layers; of one what it computes again, at most a part of it twice, and gradients
    assert make_plan(config).memory.stages[0].activations == 2 * one + layer(config).inside_bytes
    again = layer(config).inside_bytes - layer(plain).inside_bytes
    assert whole - one <= again <= 1.7 * (whole - one)


def test_sent_outputs_are_kept_where_they_are_not_released() -> None:
    words = [*DEMO, "resources.devices_per_node=16", "parallelism.pipeline_model_parallel_size=4"]
    released, kept = (
        compose([*words, f"parallelism.deallocate_pipeline_outputs={value}"]) for value in ("true", "false")
    )
    sent = layer(kept).sent_bytes
    # fp32, two samples, on two tensor-parallel ranks that share the sequence
    assert sent == 4 * 2 * text_of(kept).sequence_length * gpt_of(kept).hidden_size // 2
    before, after = (
        [stage.activations for stage in make_plan(one).memory.stages] for one in (released, kept)
    )
    assert [b - a for a, b in zip(before, after, strict=True)] == [4 * sent, 3 * sent, 2 * sent, 0]


@pytest.mark.parametrize(("version", "kept"), [((0, 16), True), ((0, 19), False), (None, False)])
def test_interleaved_outputs_are_kept_before_019(
    version: tuple[int, int] | None, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*DEMO, "resources.devices_per_node=4", "parallelism.pipeline_model_parallel_size=2"]
    words += ["parallelism.virtual_pipeline_model_parallel_size=2"]
    config, unlike = compose(words), compose([*words, "parallelism.overlap_p2p_comm=false"])
    monkeypatch.setattr(switches, "installed", lambda: version)
    overlapped, released = (make_plan(one).memory.stages[0].activations for one in (config, unlike))
    # both chunks of the first stage send
    assert overlapped - released == kept * chunks_in_flight(2, 2, 4, 0) * layer(config).sent_bytes


def test_what_does_not_fit_is_said() -> None:
    plan = make_plan(compose([*large("gpt3_13b", 32), "parallelism=dp"]))
    assert plan.memory.fits is False
    assert plan.memory.device == 79 * 2**30
    assert plan.memory.largest > plan.memory.device
    assert make_plan(compose(large("gpt3_13b", 32))).memory.fits is True
    assert make_plan(compose(DEMO)).memory.fits is None
