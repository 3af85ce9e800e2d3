"""Against arXiv 2205.05198, table 2: activations of one layer in 16 bits, with the paper's dropout.

Where attention keeps its s x s terms, in fp32 on a CPU, they are not the paper's; what a layer really keeps is in
test_kept_bytes.py.
"""

from functools import cache

import pytest

from presets import large
from slipway.config.compose import compose
from slipway.config.schema import Parallelism, RunConfig
from slipway.models.gpt.activations import head_bytes
from slipway.models.gpt.config import Config
from slipway.models.gpt.share import share_of
from slipway.models.transformer import buffers
from slipway.models.transformer.activations import layer_bytes

S, B, H, A, T = 2048, 4, 6144, 64, 8
SUMS = 4 * A * S * B  # one fp32 number per row and head, which flash attention keeps in place of 5 a s / h


def gpt(**more) -> Config:
    sizes = dict(name="22B", num_layers=48, hidden_size=H, num_attention_heads=A, vocab_size=51200)
    dropout = dict(hidden_dropout=0.1, attention_dropout=0.1)
    return Config(**{**sizes, **dropout, "max_position_embeddings": S, **more})


def layer(
    model: Config, *recomputed: str, precision: str = "bf16", cluster: str = "local_gpu", **layout
) -> int:
    words = [f"training.micro_batch_size={B}", f"training.precision={precision}", f"data.sequence_length={S}"]
    config = _composed((*words, f"cluster={cluster}")).model_copy(update={"model": model})
    return layer_bytes(share_of(config, Parallelism(**layout)), recomputed)


@cache
def _composed(words: tuple[str, ...]) -> RunConfig:
    return compose(words)


@pytest.mark.parametrize(
    ("recomputed", "layout", "published"),
    [
        ((), {}, S * B * H * 34 + SUMS),
        ((), dict(tensor_model_parallel_size=T), S * B * H * (10 + 24 / T) + SUMS / T),
        (
            (),
            dict(tensor_model_parallel_size=T, sequence_parallel=True),
            S * B * H * 34 / T + SUMS / T,
        ),
        (("layer",), {}, 2 * S * B * H),
        (("layer",), dict(tensor_model_parallel_size=T), 2 * S * B * H),
    ],
    ids=str,
)
def test_paper(recomputed: tuple[str, ...], layout: dict, published: float) -> None:
    assert layer(gpt(), *recomputed, **layout) == pytest.approx(published, rel=1e-12)


def test_scores_are_kept_with_dropout_on_a_cpu_unless_they_are_computed_again() -> None:
    kept = layer(gpt(), cluster="local") - layer(gpt(), "attention", cluster="local")
    assert kept == S * B * (12 * A * S + 2 * 2 * H)
    without = layer(gpt(attention_dropout=0.0), cluster="local")
    assert without == layer(gpt(), "attention", cluster="local") + SUMS


def test_modules_take_away_what_they_return() -> None:
    plain = layer(gpt())
    assert plain - layer(gpt(), "norm") == S * B * 2 * 2 * H
    assert plain - layer(gpt(), "activation") == S * B * 2 * 4 * H
    assert plain - layer(gpt(), "mlp") == S * B * 2 * 8 * H
    assert plain - layer(gpt(), "norm", "mlp") == S * B * 2 * (2 + 8) * H


def test_fp32_doubles_all_but_masks_and_row_sums() -> None:
    assert layer(gpt(), precision="fp32") - SUMS == S * B * H * (2 * 32 + 2)


def test_context_parallel_ranks_hold_their_part_and_all_keys_and_values() -> None:
    alone, shared = layer(gpt()), layer(gpt(), context_parallel_size=2)
    # of K and V the whole sequence, besides this rank's part of them; what stretches of queries return, and joined
    assert shared == alone // 2 + S * B // 2 * 2 * (2 * 2 * H + H)


def test_grouped_queries_rotary_embedding_and_gated_mlp() -> None:
    base = gpt(hidden_dropout=0.0, attention_dropout=0.0, ffn_hidden_size=1024)
    grouped = base.model_copy(update={"num_query_groups": 8})
    assert layer(base) - layer(grouped) == S * B * 2 * 2 * (H - H // 8)
    gated = base.model_copy(update={"activation": "swiglu"})
    assert layer(gated) - layer(base) == S * B * 2 * 1024
    rotary = grouped.model_copy(update={"position_embedding_type": "rope"})
    assert layer(rotary) - layer(grouped) == S * B * 2 * (H + H // 8)  # Q and K again


MIXTURE = [*large("mixtral_8x7b", 2), "parallelism=tp2", "parallelism.expert_model_parallel_size=4"]


def test_a_mixtures_tokens_are_copied_whole_to_their_experts() -> None:
    config = compose(MIXTURE)
    share = share_of(config, config.parallelism)
    none, product = (layer_bytes(share, recomputed) for recomputed in ((), ("experts",)))
    assert none - product == share.tokens * 2 * 2 * 3 * 14336 // 2
    assert product > share.tokens * 2 * 2 * 4096


def test_the_gathering_dispatcher_has_a_buffer() -> None:
    gathers = "parallelism.moe_token_dispatcher_type=allgather"
    sent, gathered = (
        share_of(config, config.parallelism)
        for config in (compose(words) for words in (MIXTURE, [*MIXTURE, gathers]))
    )
    assert buffers.gathered_bytes(sent) == 0
    # of all ranks that share experts, this one's tokens being split by sequence parallelism
    expected = 2 * 4 * gathered.state_bytes
    assert buffers.gathered_bytes(gathered) == expected


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
    assert head_bytes(share_of(config, config.parallelism)) == expected


@pytest.mark.parametrize("other", ["kernels=te", "kernels.cross_entropy=te", "kernels.cross_entropy=unfused"])
def test_other_losses_keep_the_logits_whole(other: str) -> None:
    fused, whole = (
        head_bytes(share_of(config, config.parallelism))
        for config in (compose(words) for words in (LLAMA, [*LLAMA, other]))
    )
    tokens, hidden, vocabulary = 8192, 4096, 128_256 // 4
    assert whole == 4 * tokens * hidden + tokens * (2 + 4) * vocabulary
    assert fused < 0.65 * whole
