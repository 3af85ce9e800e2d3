"""Stretched rotary frequencies against transformers', and what a stage makes of them."""

import warnings
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from slipway.config.compose import compose
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.fields.rotary import Llama3, Yarn
from slipway.models.gpt.rotary import frequencies
from slipway.plan import Plan, make_plan

PUBLISHED: Mapping[str, tuple[int, float, Llama3 | Yarn]] = {
    "Llama 3.1 405B": (128, 500000.0, Llama3(type="llama3", factor=8.0)),
    "Llama 3.2 1B": (64, 500000.0, Llama3(type="llama3", factor=32.0)),
    "Qwen3 8B at 131,072 tokens": (
        128,
        1e6,
        Yarn(type="yarn", factor=4.0, original_max_position_embeddings=32768),
    ),
    "DeepSeek-V3": (
        64,
        10000.0,
        Yarn(type="yarn", factor=40.0, original_max_position_embeddings=4096, mscale=1.0, mscale_all_dim=1.0),
    ),
    "gpt-oss": (
        64,
        150000.0,
        Yarn(type="yarn", factor=32.0, original_max_position_embeddings=4096, truncate=False),
    ),
}


def theirs(size: int, base: float, scaling: Llama3 | Yarn) -> tuple[torch.Tensor, float]:
    """Frequencies, and what queries and keys are multiplied by, as transformers has them."""
    settings = {"rope_theta": base, "rope_type": scaling.type, **scaling.model_dump(exclude={"type"})}
    config = LlamaConfig(
        hidden_size=4 * size, num_attention_heads=4, max_position_embeddings=1 << 20, rope_parameters=settings
    )
    return ROPE_INIT_FUNCTIONS[scaling.type](config, torch.device("cpu"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_have_the_frequencies_of_transformers_to_the_last_bit(name: str) -> None:
    size, base, scaling = PUBLISHED[name]
    expected, scale = theirs(size, base, scaling)
    assert torch.equal(frequencies(size, base, scaling), expected)
    assert scaling.attention_scale == pytest.approx(scale, rel=1e-15)
    assert not torch.equal(expected, base ** -(torch.arange(0, size, 2) / size)), "they are stretched"


LENGTHS = st.sampled_from([16, 100, 4096, 8192])
FACTORS = st.floats(1.0, 64.0)
LLAMA3 = st.builds(
    Llama3,
    type=st.just("llama3"),
    factor=FACTORS,
    low_freq_factor=st.floats(0.25, 1.5),
    high_freq_factor=st.floats(2.0, 32.0),
    original_max_position_embeddings=LENGTHS,
)
YARN = st.one_of(
    *(
        st.builds(
            Yarn,
            type=st.just("yarn"),
            factor=FACTORS,
            original_max_position_embeddings=LENGTHS,
            beta_fast=st.floats(8.0, 64.0),
            beta_slow=st.floats(0.25, 2.0),
            truncate=st.booleans(),
            **more,
        )
        for more in (
            {},
            {"attention_factor": st.floats(0.5, 2.0)},
            {"mscale": st.floats(0.25, 2.0), "mscale_all_dim": st.floats(0.25, 2.0)},
        )
    )
)


@given(
    size=st.sampled_from([8, 64, 80]),
    base=st.sampled_from([10000.0, 5e5]),
    scaling=st.one_of(LLAMA3, YARN),
)
def test_any_numbers_give_the_frequencies_of_transformers(
    size: int, base: float, scaling: Llama3 | Yarn
) -> None:
    expected, scale = theirs(size, base, scaling)
    torch.testing.assert_close(frequencies(size, base, scaling), expected, rtol=1e-6, atol=0)
    assert scaling.attention_scale == pytest.approx(scale, rel=1e-12)


def test_a_preset_takes_the_other_kind_of_stretching_in_one_word() -> None:
    words = [
        "model=llama3_2_1b",
        "data=stdlib",
        "training.steps=1",
        "optimizer.lr=1e-3",
        "data.allow_large_models=true",
    ]
    yarn = "model.rope_scaling={type:yarn,factor:4,original_max_position_embeddings:64}"
    expected = Yarn(type="yarn", factor=4, original_max_position_embeddings=64)
    for word in (yarn, f"++{yarn}"):
        assert gpt_of(compose([*words, word])).rope_scaling == expected
    same = gpt_of(compose([*words, "model.rope_scaling={type:llama3,factor:4}"])).rope_scaling
    preset = gpt_of(compose(words)).rope_scaling
    assert isinstance(preset, Llama3) and same == preset.model_copy(update={"factor": 4}), "fields are merged"


def test_a_stretched_model_is_written_and_read_without_a_word() -> None:
    plan = make_plan(compose(["model=demo", "model.rope_scaling={type:llama3,factor:8}"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan and isinstance(gpt_of(again.config).rope_scaling, Llama3)
