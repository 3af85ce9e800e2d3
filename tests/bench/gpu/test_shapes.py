"""How many layers are measured on a device, by the plan's estimate; nothing here needs one."""

from pathlib import Path

import pytest

from slipway.bench.gpu.device import Here, rehearsal
from slipway.bench.gpu.shapes import (
    CONTEXT_GIB,
    FEWEST,
    SHAPES,
    TINY_LAYERS,
    USABLE,
    Fit,
    fit,
    layers_within,
    least_gib,
    overrides,
    plain_gib,
    planned,
    usable_gib,
)
from slipway.config.compose import compose
from slipway.models.gpt.config import gpt_of
from slipway.plan import Plan


def gpu(memory_gib: float, count: int = 1) -> Here:
    return Here("cuda", "GPU", count, memory_gib, None, {})


def fitted(name: str, memory_gib: float, tmp_path: Path, compared: bool = True) -> Fit:
    found = fit(SHAPES[name], gpu(memory_gib), tmp_path, compared=compared)
    assert found is not None
    return found


@pytest.mark.parametrize(("room", "layers"), [(9.9, 0), (10, 1), (12.9, 1), (13, 2), (40, 11)])
def test_layers_within(room: float, layers: int) -> None:
    assert layers_within(room, 10, 3) == layers


def allocated(plan: Plan) -> float:
    return max(stage.allocated for stage in plan.memory.stages) / 2**30


@pytest.mark.parametrize("name", ["gpt-2048", "llama-4096", "experts"])
@pytest.mark.parametrize("memory_gib", [80, 141])
def test_both_fit_and_one_layer_more_would_not(name: str, memory_gib: float, tmp_path: Path) -> None:
    shape, compared = SHAPES[name], name != "experts"
    found = fitted(name, memory_gib, tmp_path, compared)
    room = usable_gib(memory_gib, 2 if compared else 1)
    assert found.beside == compared and FEWEST <= found.layers <= shape.layers
    assert found.planned + compared * found.plain <= room < memory_gib
    if found.layers < shape.layers:
        more = planned(shape, gpu(memory_gib), found.layers + 1, tmp_path)
        assert allocated(more) + compared * plain_gib(more) > room


def test_the_reference_is_left_out_before_the_shape_is(tmp_path: Path) -> None:
    alone = fitted("llama-4096", 40, tmp_path)
    assert not alone.beside and alone.layers >= FEWEST
    assert fit(SHAPES["llama-4096"], gpu(12), tmp_path) is None
    needed = least_gib(SHAPES["llama-4096"], gpu(12), tmp_path)
    assert fitted("llama-4096", needed + 0.01, tmp_path).layers == FEWEST


def test_each_process_takes_its_own_share_of_the_device(tmp_path: Path) -> None:
    two = planned(SHAPES["llama-4096"], gpu(80), FEWEST, tmp_path)
    needed = (allocated(two) + plain_gib(two)) / USABLE + 2 * CONTEXT_GIB
    assert fitted("llama-4096", needed + 0.01, tmp_path).beside
    assert not fitted("llama-4096", needed - 0.1, tmp_path).beside


def test_a_large_device_has_the_whole_model(tmp_path: Path) -> None:
    assert fitted("gpt-2048", 141, tmp_path).layers == SHAPES["gpt-2048"].layers


@pytest.mark.parametrize("name", SHAPES)
def test_the_shape_is_the_published_one_but_for_its_layers(name: str) -> None:
    shape = SHAPES[name]
    config = compose(["data=stdlib", "data.allow_large_models=true", *overrides(shape, gpu(80), layers=3)])
    preset = compose(["data=stdlib", "data.allow_large_models=true", *shape.words])
    model, published = gpt_of(config), gpt_of(preset)
    assert (model.num_layers, published.num_layers >= shape.layers) == (3, True)
    own = {"num_layers": published.num_layers, "max_position_embeddings": published.max_position_embeddings}
    assert model.model_copy(update=own) == published
    assert config.training.precision == "bf16" and config.cluster.device.kind == "cuda"


def test_a_rehearsal_goes_through_the_same_arithmetic(tmp_path: Path) -> None:
    for shape in SHAPES.values():
        found = fit(shape, rehearsal(), tmp_path, compared=shape.name != "experts")
        assert found is not None and FEWEST <= found.layers <= TINY_LAYERS


def test_several_devices_have_a_larger_batch() -> None:
    one, four = (
        compose(
            ["data=stdlib", "data.allow_large_models=true", *overrides(SHAPES["gpt-2048"], gpu(80, n), 2, n)]
        )
        for n in (1, 4)
    )
    assert four.resources.devices_per_node == 4
    assert four.training.global_batch_size == 4 * one.training.global_batch_size
