import pytest

from slipway.config.compose import compose
from slipway.models.gpt import activations
from slipway.plan.layout import Grid
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


def test_what_is_whole_for_a_while() -> None:
    """A small model all of it; of a large one 1e9 gradients, and beside the tables a layer and 5e8 parameters."""
    stage, parameters = memory("parallelism=zero2")
    assert stage.gathered == 4 * parameters
    stage, parameters = memory("parallelism=zero3")
    assert stage.gathered == (4 + 4) * parameters
    plan = make_plan(compose(["experiment=llama3_8b", "parallelism=zero3"]))
    tables, layer = 2 * 128_256 * 4096, 218_112_000
    assert plan.memory.stages[0].gathered == 4 * 10**9 + 2 * (tables + 4096 + layer + 5 * 10**8)
    assert plan.memory.largest == plan.memory.stages[0].total
    plan = make_plan(compose(["experiment=llama3_8b", "parallelism=dp"]))
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
            "model=mixtral_8x7b",
            "resources.devices_per_node=16",
            "parallelism=tp2",
            "training.precision=bf16",
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


def test_earlier_stages_hold_more_microbatches() -> None:
    config = compose([*DEMO, "resources.devices_per_node=16", "parallelism.pipeline_model_parallel_size=4"])
    per_layer = activations.layer_bytes(config, config.parallelism, config.training.recompute)
    stages = make_plan(config).memory.stages
    assert [stage.activations // per_layer for stage in stages[:3]] == [4, 3, 2]


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_a_step_of_one_microbatch_keeps_one(recompute: str) -> None:
    config = compose([*DEMO, "training.global_batch_size=4", f"training.recompute={recompute}"])
    per_layer = activations.layer_bytes(config, config.parallelism, config.training.recompute)
    stage = make_plan(config).memory.stages[0]
    inside = activations.layer_bytes(config, config.parallelism, "none") if recompute == "full" else 0
    assert stage.activations == 2 * per_layer + inside


def test_what_does_not_fit_is_said() -> None:
    plan = make_plan(compose(["experiment=gpt3_13b", "parallelism=dp"]))
    assert plan.memory.fits is False
    assert plan.memory.device == 79 * 2**30
    assert plan.memory.largest > plan.memory.device
    assert make_plan(compose(["experiment=gpt3_13b"])).memory.fits is True
    assert make_plan(compose(DEMO)).memory.fits is None
