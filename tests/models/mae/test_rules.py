"""What a masked auto-encoder refuses, with the arithmetic."""

import pytest

from presets import preset
from refusals import refused
from slipway.config.compose import compose
from slipway.models.mae.family import FAMILY
from slipway.plan import make_plan

BASE = [
    *preset("earth_demo"),
    "cluster=juwels_booster",
    "parallelism=single",
    "training.global_batch_size=16",
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


@pytest.mark.parametrize(
    ("words", "facts", "use"),
    [
        (["model.mask_ratio=0.999"], ["int(256 x (1 - 0.999)) = 0"], "at most"),
        (["model.mask_ratio=1e-17"], ["int(256 x (1 - 1e-17)) = 256"], "at least"),
    ],
)
def test_a_mask_hides_some_patches_and_leaves_some(words: list[str], facts: list[str], use: str) -> None:
    with refused("model.mask_ratio", *facts, use=use):
        make_plan(compose([*BASE, *words]))


@pytest.mark.parametrize("share", [0.996, 0.004])
def test_the_ratio_that_is_proposed_is_accepted(share: float) -> None:
    """Of 256 patches one is visible, or one hidden."""
    plan = make_plan(compose([*BASE, f"model.mask_ratio={share}"]))
    assert plan.units_per_sample == 256


@pytest.mark.parametrize(
    ("words", "path", "facts", "use"),
    [
        ([f"{LAYOUT}context_parallel_size=2"], "context_parallel_size", ["mae"], "1"),
        ([f"{LAYOUT}expert_model_parallel_size=2"], "expert_model_parallel_size", ["no experts"], "1"),
        ([f"{LAYOUT}tp_comm_overlap=true", *TP4], "tp_comm_overlap", [65, 257], "null"),
        ([f"{LAYOUT}cuda_graph_impl=local"], "cuda_graph_impl", ["two stacks"], "null"),
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


def test_text_is_no_imagery() -> None:
    with refused("model.family", "mae"):
        make_plan(compose(["model=earth_demo", "data=stdlib"]))


def test_modules_that_it_does_not_have_are_not_computed_again() -> None:
    words = ["training.recompute=selective", "training.recompute_modules=[experts]"]
    with refused("training.recompute_modules", use="norm, activation, mlp"):
        make_plan(compose([*BASE, *words]))
