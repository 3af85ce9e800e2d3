"""What a masked auto-encoder refuses, with the arithmetic."""

import pytest

from presets import preset
from refusals import refused
from slipway.config.compose import compose
from slipway.errors import UserError
from slipway.models.mae.config import mae_of
from slipway.models.mae.family import FAMILY
from slipway.plan import make_plan

BASE = [
    *preset("earth_demo"),
    *("model.image_size=64", "model.patch_size=8"),
    "cluster=juwels_booster",
    "parallelism=single",
    "training.global_batch_size=128",
]
LAYOUT = "parallelism."
TP4 = [f"{LAYOUT}tensor_model_parallel_size=4"]


@pytest.mark.parametrize(
    ("words", "path", "facts"),
    [
        (["model.image_size=60"], "model.image_size", ["60 = 7 x 8 + 4", "patch_size 8"]),
        (["model.patch_frames=3"], "model.num_frames", ["4 = 1 x 3 + 1", "patch_frames 3"]),
        (["model.hidden_size=120"], "model.hidden_size", ["120 = 7 x 16 + 8"]),
        (["model.hidden_size=144", "model.num_attention_heads=5"], "model.hidden_size", ["144 = 28 x 5 + 4"]),
        (["model.decoder_hidden_size=72"], "model.decoder_hidden_size", ["72 = 4 x 16 + 8", "decoder"]),
        ([*TP4, "model.num_attention_heads=2"], "model.num_attention_heads", ["2 = 0 x 4 + 2"]),
        ([*TP4, "model.decoder_num_attention_heads=2"], "model.decoder_num_attention_heads", ["0 x 4 + 2"]),
        ([*TP4, "model.decoder_ffn_hidden_size=130"], "model.decoder_ffn_hidden_size", ["130 = 32 x 4 + 2"]),
    ],
)
def test_what_does_not_divide(words: list[str], path: str, facts: list[str]) -> None:
    with refused(path, *facts):
        make_plan(compose([*BASE, *words]))


@pytest.mark.parametrize("size", [8, 16, 64, 224])
@pytest.mark.parametrize("ratio", [0.999999, 1e-17])
def test_a_mask_hides_some_patches_and_leaves_some(size: int, ratio: float) -> None:
    """What is refused comes with a ratio that is accepted."""
    words = [*BASE, f"model.image_size={size}"]
    with pytest.raises(UserError) as error:
        make_plan(compose([*words, f"model.mask_ratio={ratio}"]))
    assert error.value.path == "model.mask_ratio"
    use = error.value.parts()["use"].split()[-1]
    model = mae_of(make_plan(compose([*words, f"model.mask_ratio={use}"])).config)
    assert min(model.num_visible, model.num_patches - model.num_visible) in (1, 2)


def test_a_sample_of_one_patch_can_hide_nothing() -> None:
    words = ["model.image_size=8", "model.num_frames=1"]
    with refused("model.mask_ratio", 1, "model.patch_size"):
        make_plan(compose([*BASE, *words]))


@pytest.mark.parametrize(
    ("words", "path", "facts", "use"),
    [
        ([f"{LAYOUT}context_parallel_size=2"], "context_parallel_size", ["mae"], "1"),
        ([f"{LAYOUT}expert_model_parallel_size=2"], "expert_model_parallel_size", ["mae"], "1"),
        ([f"{LAYOUT}tp_comm_overlap=true", *TP4], "tp_comm_overlap", [65, 257], "null"),
        ([f"{LAYOUT}cuda_graph_impl=local"], "cuda_graph_impl", ["mae"], "null"),
    ],
)
def test_layouts_that_it_does_not_have(words: list[str], path: str, facts: list, use: str) -> None:
    with refused(f"{LAYOUT}{path}", *facts, use=use):
        make_plan(compose([*BASE, *words, "training.precision=bf16"]))


def test_fp8_products_have_sizes_of_a_multiple_of_16() -> None:
    words = [
        "cluster=h100_cloud",
        "training.precision=bf16",
        "training.fp8=hybrid",
        "training.micro_batch_size=1",
    ]
    with refused("training.micro_batch_size", "65 x 1", 16):
        make_plan(compose([*BASE, *words]))
    make_plan(compose([*BASE, *words, "training.micro_batch_size=16"]))


@pytest.mark.parametrize(
    ("traits", "field"),
    [
        ({"frames": 3}, "num_frames"),
        ({"bands": ("red", "green")}, "num_bands"),
        ({"size": 128}, "image_size"),
    ],
)
def test_chips_of_other_sizes(traits: dict, field: str) -> None:
    config = compose(BASE)
    fitting = {"frames": 4, "bands": tuple("abcdef"), "size": 64, "dtype": "int16"}
    FAMILY.check_data(config, fitting)
    with refused(f"model.{field}"):
        FAMILY.check_data(config, {**fitting, **traits})


def test_modules_that_it_does_not_have_are_not_computed_again() -> None:
    words = ["training.recompute=selective", "training.recompute_modules=[experts]"]
    with refused("training.recompute_modules", use=["norm", "activation", "mlp"]):
        make_plan(compose([*BASE, *words]))
