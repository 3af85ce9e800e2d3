"""Against arXiv 2205.05198, table 2: activations of one layer in 16 bits, with the paper's dropout."""

from functools import cache

import pytest

from presets import large
from slipway.config.compose import compose
from slipway.config.schema import Parallelism, RunConfig
from slipway.models.gpt import activations
from slipway.models.gpt.config import Config

S, B, H, A, T = 2048, 4, 6144, 64, 8


def gpt(**more) -> Config:
    sizes = dict(name="22B", num_layers=48, hidden_size=H, num_attention_heads=A, vocab_size=51200)
    dropout = dict(hidden_dropout=0.1, attention_dropout=0.1)
    return Config(**{**sizes, **dropout, "max_position_embeddings": S, **more})


def layer(model: Config, recompute: str = "none", precision: str = "bf16", **layout) -> int:
    words = [f"training.micro_batch_size={B}", f"training.precision={precision}", f"data.sequence_length={S}"]
    config = _composed(tuple(words)).model_copy(update={"model": model})
    return activations.layer_bytes(config, Parallelism(**layout), recompute)


@cache
def _composed(words: tuple[str, ...]) -> RunConfig:
    return compose(words)


@pytest.mark.parametrize(
    ("recompute", "layout", "published"),
    [
        ("none", {}, S * B * H * (34 + 5 * A * S / H)),
        ("none", dict(tensor_model_parallel_size=T), S * B * H * (10 + 24 / T + 5 * A * S / (H * T))),
        (
            "none",
            dict(tensor_model_parallel_size=T, sequence_parallel=True),
            S * B * H * (34 / T + 5 * A * S / (H * T)),
        ),
        ("selective", dict(tensor_model_parallel_size=T), S * B * H * (10 + 24 / T)),
        ("selective", dict(tensor_model_parallel_size=T, sequence_parallel=True), S * B * H * 34 / T),
        ("full", {}, 2 * S * B * H),
        ("full", dict(tensor_model_parallel_size=T), 2 * S * B * H),
    ],
    ids=str,
)
def test_paper(recompute: str, layout: dict, published: float) -> None:
    assert layer(gpt(), recompute, **layout) == pytest.approx(published, rel=1e-12)


def test_without_dropout_attention_is_fused_and_keeps_no_square() -> None:
    model = gpt(hidden_dropout=0.0, attention_dropout=0.0)
    # 34 less two masks, and one fp32 number per row and head
    assert layer(model) == S * B * (32 * H + 4 * A)
    assert layer(model, "selective") == S * B * 32 * H


def test_fp32_doubles_all_but_masks_and_row_sums() -> None:
    assert layer(gpt(), "selective", "fp32") == S * B * H * (2 * 32 + 2)


def test_context_parallel_ranks_hold_their_part() -> None:
    assert layer(gpt(), "selective", context_parallel_size=2) == layer(gpt(), "selective") // 2


def test_grouped_queries_and_gated_mlp() -> None:
    base = gpt(hidden_dropout=0.0, attention_dropout=0.0, ffn_hidden_size=1024)
    grouped = base.model_copy(update={"num_query_groups": 8})
    assert layer(base) - layer(grouped) == S * B * 2 * 2 * (H - H // 8)
    gated = base.model_copy(update={"activation": "swiglu"})
    assert layer(gated) - layer(base) == S * B * 2 * 1024


LLAMA = [
    *large("llama3_8b", 1, "juwels_booster"),
    *("training.recompute=none", "parallelism=single"),
    "data.sequence_length=8192",
    "training.micro_batch_size=1",
    "parallelism.tensor_model_parallel_size=4",
    "resources.devices_per_node=4",
]


def test_the_loss_fused_with_the_output_layer_keeps_gradients_and_not_logits() -> None:
    config = compose(LLAMA)
    tokens, hidden, vocabulary = 8192, 4096, 128_256 // 4
    states = 2 * tokens * hidden
    # norm's input, gradients of hidden states and (fp32: a sum of several chunks') of the weight, a chunk twice
    expected = 2 * states + 4 * vocabulary * hidden + 2048 * (2 + 4) * vocabulary
    assert activations.head_bytes(config, config.parallelism) == expected


@pytest.mark.parametrize("other", ["kernels=te", "kernels.cross_entropy=te", "kernels.cross_entropy=unfused"])
def test_other_losses_keep_the_logits_whole(other: str) -> None:
    fused, whole = (
        activations.head_bytes(config, config.parallelism)
        for config in (compose(words) for words in (LLAMA, [*LLAMA, other]))
    )
    tokens, hidden, vocabulary = 8192, 4096, 128_256 // 4
    assert whole == 4 * tokens * hidden + tokens * (2 + 4) * vocabulary
    assert fused < 0.65 * whole
