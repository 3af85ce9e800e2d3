"""FP8's recipes: which one a GPU gets, what a plan refuses without torch, and what a continued run is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets import preset
from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.kernels import fp8
from slipway.kernels.fp8 import RECIPES
from slipway.models.gpt.fp8 import sizes
from slipway.plan import make_plan

RUN = [*preset("llama3_8b"), "training.precision=bf16", "training.fp8=hybrid", "cluster=jupiter_booster"]


CONFIG = compose(RUN)


def on(capability: float | None, **training: Any) -> RunConfig:
    config = CONFIG
    device = config.cluster.device.model_copy(update={"compute_capability": capability})
    cluster = config.cluster.model_copy(update={"device": device})
    return config.model_copy(
        update={"cluster": cluster, "training": config.training.model_copy(update=training)}
    )


@pytest.mark.parametrize(
    ("capability", "recipe"),
    [
        *((None, "tensorwise"), (8.9, "tensorwise"), (9.0, "tensorwise")),
        *((10.0, "mxfp8"), (10.3, "mxfp8"), (12.0, "tensorwise"), (12.1, "tensorwise")),
    ],
)
def test_the_rule_takes_a_recipe_that_keeps_nothing(capability: float | None, recipe: str) -> None:
    config = on(capability)
    assert fp8.recipe_of(config) == recipe
    assert RECIPES[recipe].keeps is None
    fp8.check_device(config)


def test_what_is_asked_for_is_taken_and_told() -> None:
    assert "not in checkpoints" in fp8.why(on(9.0, fp8_recipe="delayed"))
    assert fp8.recipe_of(on(10.0, fp8_recipe="delayed")) == "delayed"
    assert "keeps nothing" in fp8.why(on(9.0))


@pytest.mark.parametrize(
    ("capability", "recipe", "facts", "use"),
    [
        (8.0, None, ["8.9", "8.0"], "training.fp8=null"),
        (8.9, "blockwise", ["9.0", "8.9"], "training.fp8_recipe=delayed|tensorwise"),
        (9.0, "mxfp8", ["10.0", "9.0"], "training.fp8_recipe=delayed|tensorwise|blockwise"),
        (12.0, "mxfp8", ["below 12.0"], "training.fp8_recipe=delayed|tensorwise|blockwise"),
    ],
)
def test_gpus_that_cannot_are_refused(capability: float, recipe: Any, facts: list[str], use: str) -> None:
    with refused("training.fp8", *facts, value="hybrid", use=use):
        fp8.check_device(on(capability, fp8_recipe=recipe))


def test_the_plan_knows_a_clusters_gpus() -> None:
    make_plan(compose(RUN))
    with refused("training.fp8", "8.0", use="training.fp8=null"):
        make_plan(compose([*RUN, "cluster=juwels_booster"]))
    with refused("training.fp8", "CPUs", value="hybrid", use="null"):
        make_plan(compose(["training.fp8=hybrid"]))
    with refused("training.fp8_recipe", value="mxfp8", use="null"):
        make_plan(compose(["training.fp8_recipe=mxfp8"]))


@pytest.mark.parametrize(
    ("overrides", "path", "arithmetic"),
    [
        (["model.hidden_size=4104", "model.kv_channels=128"], "model.hidden_size", "4104 = 256 x 16 + 8"),
        (
            ["model.kv_channels=10"],
            "model.num_query_groups",
            "(32 + 2 x 8) x 10 / tensor 4 = 120 = 7 x 16 + 8",
        ),
        (["model.ffn_hidden_size=14368"], "model.ffn_hidden_size", "14368 / tensor 4 = 3592 = 224 x 16 + 8"),
        (
            ["data.sequence_length=2080", "training.micro_batch_size=1"],
            "data.sequence_length",
            "2080 x 1 / tensor 4 = 520 = 32 x 16 + 8",
        ),
        (
            [
                "data.sequence_length=1088",
                "training.fp8_recipe=mxfp8",
                "cluster.device.compute_capability=10.0",
            ],
            "data.sequence_length",
            "1088 x 1 / tensor 4 = 272 = 8 x 32 + 16",
        ),
    ],
)
def test_sizes_are_refused_with_the_arithmetic(overrides: list[str], path: str, arithmetic: str) -> None:
    layout = ["parallelism.tensor_model_parallel_size=4", "parallelism.sequence_parallel=true"]
    run = [*RUN, *layout, "training.micro_batch_size=1", *overrides]
    make_plan(compose([*run, "training.fp8=null", "training.fp8_recipe=null"]))
    with refused(path, arithmetic):
        make_plan(compose(run))


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.integers(1, 40).map(lambda n: 8 * n),
    st.sampled_from([n * 8 for n in range(500, 530)]),
    st.sampled_from(list(RECIPES)),
)
def test_exactly_what_is_divisible_is_taken(tp: int, head: int, width: int, recipe: str) -> None:
    config = on(10.0, fp8_recipe=recipe)
    model = config.model.model_copy(update={"kv_channels": head, "ffn_hidden_size": tp * width})
    layout = config.parallelism.model_copy(update={"tensor_model_parallel_size": tp})
    config = config.model_copy(update={"model": model, "parallelism": layout})
    by = 32 if recipe == "mxfp8" else 16
    right = not any(n % by for n in (32 * head // tp, 48 * head // tp, width))
    try:
        fp8.check_sizes(config, sizes(config))
    except UserError:
        assert not right
    else:
        assert right
