"""What a masked auto-encoder says of its layers, over all the layouts that it can have."""

from functools import cache
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presets import preset
from slipway.config.compose import compose
from slipway.config.schema import Parallelism, RunConfig
from slipway.models.mae import counts
from slipway.models.mae.config import mae_of
from slipway.models.mae.family import FAMILY
from slipway.models.work import Work
from slipway.plan import make_plan

NAMES = ["earth_demo", "prithvi_eo2_300m", "prithvi_eo2_600m_tl"]


@cache
def config_of(name: str, *words: str) -> RunConfig:
    return compose([*preset(name), "cluster=juwels_booster", *words])


Sharding = Literal["optim_grads", "optim_grads_params"] | None


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, int, Parallelism, str]:
    """A preset on so many nodes of 4 devices: tensor, sequence, pipeline parallelism, ZeRO and recomputation."""
    name = draw(st.sampled_from(NAMES))
    tp, pp = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2, 4]))
    enough = pp == 2 or name != "earth_demo"  # layers for two chunks in each stage
    sharding: Sharding = (
        draw(st.sampled_from([None, None, "optim_grads", "optim_grads_params"])) if pp == 1 else None
    )
    layout = Parallelism(
        tensor_model_parallel_size=tp,
        sequence_parallel=tp > 1 and (sharding is not None or draw(st.booleans())),
        pipeline_model_parallel_size=pp,
        virtual_pipeline_model_parallel_size=draw(st.sampled_from([1, 2])) if pp > 1 and enough else 1,
        use_distributed_optimizer=sharding is not None or draw(st.booleans()),
        data_parallel_sharding_strategy=sharding,
        overlap_grad_reduce=sharding is not None,
        overlap_param_gather=sharding is not None,
    )
    return (
        name,
        draw(st.sampled_from([4, 16])),
        layout,
        draw(st.sampled_from(RECOMPUTE)),
    )


RECOMPUTE = ["none", "selective", "full"]


@settings(max_examples=30, deadline=None)
@given(layouts())
def test_every_layout_is_planned(case: tuple[str, int, Parallelism, str]) -> None:
    name, nodes, layout, recompute = case
    config = config_of(name, "parallelism=single", f"training.recompute={recompute}", "resources.nodes=4")
    training = {"micro_batch_size": 2, "global_batch_size": nodes * 4 * 8}
    changed = {
        "parallelism": layout,
        "resources": config.resources.model_copy(update={"nodes": nodes}),
        "training": config.training.model_copy(update=training),
    }
    plan = make_plan(config.model_copy(update=changed))
    layers = FAMILY.layers(plan.config, layout)
    assert plan.memory.fits
    assert sum(stage.parameters for stage in plan.stages) == sum(layer.parameters.total for layer in layers)
    assert plan.time.seconds_per_step is not None and plan.time.seconds_per_step > 0


def flop(work: Work) -> float:
    """Of all products, forward and backward."""
    return sum(product.flop for one in (work.forward, work.backward) for product in one.products)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tp", [1, 4])
def test_products_are_the_operations_counted(name: str, tp: int) -> None:
    """But for attention's product that flash attention computes again; ranks share the layers' products."""
    config = config_of(
        name, "parallelism=single", "training.micro_batch_size=3", "training.global_batch_size=12"
    )
    model, once = mae_of(config), counts.flops(mae_of(config))
    layout = Parallelism(tensor_model_parallel_size=tp)
    layers, work = FAMILY.layers(config, layout), FAMILY.work(config, layout)
    assert len(work) == len(layers)
    visible, every = 1 + model.num_visible, 1 + model.num_patches
    again = 2 * model.hidden_size * visible**2
    assert flop(work[1]) == pytest.approx(3 * (once.layer + again) / tp)
    decoder = model.decoder_num_layers * 12 * model.decoder_hidden_size * every
    decoder *= 6 * (model.decoder_hidden_size + every / 6)
    again = model.decoder_num_layers * 2 * model.decoder_hidden_size * every**2
    assert flop(work[-1]) == pytest.approx(3 * (once.head - decoder + (decoder + again) / tp), rel=1e-3)
    assert flop(work[0]) == pytest.approx(3 * once.embedding)


@given(st.sampled_from(NAMES[1:]), st.sampled_from([2, 3, 4, 6, 8]), st.sampled_from(["none", "full"]))
def test_stages_are_level(name: str, stages: int, recompute: str) -> None:
    """The decoder is worth several layers; no stage is a layer above the mean, but for the decoder alone."""
    config = config_of(name, "parallelism=single", f"training.recompute={recompute}")
    once, model = counts.flops(mae_of(config)), mae_of(config)
    again = counts.recomputed_flops(model, FAMILY.recomputed(config))
    embedding, layer, head = (a + b for a, b in zip(once, again, strict=True))
    costs = [embedding, *[layer] * model.num_layers, head]
    spans = FAMILY.spans(config, Parallelism(pipeline_model_parallel_size=stages))
    loads = [sum(costs[number] for number in span) for span in spans]
    assert max(loads) <= max(sum(costs) / stages + layer, head)
    assert len(spans[-1]) < len(spans[0])


def test_a_sample_is_what_the_recipe_says() -> None:
    sample = FAMILY.sample(config_of("prithvi_eo2_300m", "parallelism=single"))
    assert sample.units == 4 * 14 * 14
    assert (sample.palm_flops, sample.attention_flops) == (None, 0)


def test_a_continued_run_may_have_other_images_but_no_other_weights() -> None:
    config = config_of("earth_demo", "parallelism=single")

    def shape(**changed: object) -> object:
        return FAMILY.shape(config.model_copy(update={"model": config.model.model_copy(update=changed)}))

    same = FAMILY.shape(config)
    assert shape(image_size=128, num_frames=2, mask_ratio=0.5, metadata_drop=0.0, name="other") == same
    for field in ("hidden_size", "num_layers", "decoder_num_layers", "patch_size", "num_bands"):
        assert shape(**{field: 2 * getattr(config.model, field)}) != same
    assert shape(metadata=()) != same
