"""What the plan says of latent attention: products, exchanges, FP8 sizes, keys and values that generation keeps."""

from functools import cache

import pytest

from presets import large
from refusals import refused
from slipway.config.compose import compose
from slipway.config.schema import Parallelism, RunConfig
from slipway.models.gpt import counts, work
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer.counts import weights
from slipway.models.work import Pass
from slipway.plan import make_plan

# DeepSeek-V3's (arXiv 2412.19437, section 4.2)
HEADS, Q_RANK, KV_RANK, PLAIN, TURNED, VALUE, HIDDEN = 128, 1536, 512, 128, 64, 128, 7168
SIZES = [
    *(f"model.num_attention_heads={HEADS}", f"model.hidden_size={HIDDEN}", "model.num_query_groups=null"),
    *("model.multi_latent_attention=true", "model.qk_layernorm=true", f"model.q_lora_rank={Q_RANK}"),
    *(f"model.kv_lora_rank={KV_RANK}", f"model.qk_head_dim={PLAIN}", f"model.qk_pos_emb_head_dim={TURNED}"),
    f"model.v_head_dim={VALUE}",
]
TWO = Parallelism(tensor_model_parallel_size=2, sequence_parallel=True)


@cache
def config_of(*words: str) -> RunConfig:
    base = ["training.precision=bf16", "training.recompute=none", "kernels.attention=te"]
    return compose([*large("llama3_8b"), *base, *SIZES, *words])


def tokens_of(config: RunConfig) -> int:
    return config.training.micro_batch_size * config.data.sequence_length  # type: ignore[attr-defined]


def flop(one: Pass, kind: str) -> float:
    return sum(product.flop for product in one.products if product.kind == kind)


def layer(config: RunConfig, layout: Parallelism | None = None):
    return work.layers(config, layout or Parallelism())[1]


@pytest.mark.parametrize("words", [(), ("model.q_lora_rank=null",)], ids=str)
def test_products_are_the_operations_counted(words: tuple[str, ...]) -> None:
    config = config_of(*words)
    model, found = gpt_of(config), layer(config)
    multiplied = 2 * weights(model.blocks[0]) * tokens_of(config)
    assert flop(found.forward, "linear") == pytest.approx(multiplied)
    assert flop(found.backward, "linear") == pytest.approx(2 * multiplied)
    square = 2 * HEADS * config.data.sequence_length * tokens_of(config)  # type: ignore[attr-defined]
    assert counts.attention_flops(model, 16) == model.num_layers * 6 * HEADS * 16**2 * (
        PLAIN + TURNED + VALUE
    )
    # a mask leaves half; backward, the scores are made again
    assert flop(found.forward, "attention") == pytest.approx(square * (PLAIN + TURNED + VALUE) / 2)
    assert flop(found.backward, "attention") == pytest.approx(square * (3 * (PLAIN + TURNED) + 2 * VALUE) / 2)


def test_torchs_attention_multiplies_the_zeros_too() -> None:
    found = layer(config_of("kernels.attention=torch"))
    wide = 2 * (PLAIN + TURNED) / (PLAIN + TURNED + VALUE)
    assert flop(found.forward, "attention") == pytest.approx(
        wide * flop(layer(config_of()).forward, "attention")
    )


@pytest.mark.parametrize("layout", [TWO, Parallelism(context_parallel_size=2)], ids=["tensor", "context"])
def test_ranks_share_products_out(layout: Parallelism) -> None:
    """The products down, whole on each tensor-parallel rank, take its part of the sequence."""
    whole, half = layer(config_of()), layer(config_of(), layout)
    for kind in ("linear", "attention"):
        assert 2 * flop(half.forward, kind) == pytest.approx(flop(whole.forward, kind))
        assert 2 * flop(half.backward, kind) == pytest.approx(flop(whole.backward, kind))


def test_tensor_parallel_ranks_exchange_latent_states() -> None:
    """And the turned channels, in place of the layer's input; in 16 bits. The rest is the MLP's."""
    config = config_of()
    found, tokens = layer(config, TWO), tokens_of(config)
    sizes = [exchange.size for exchange in found.forward.exchanges if exchange.group == "tensor"]
    latent = [2 * tokens * width for width in (Q_RANK, KV_RANK, TURNED, HIDDEN)]
    assert sizes == [*latent, 2 * tokens * HIDDEN, 2 * tokens * HIDDEN]
    kinds = [exchange.kind for exchange in found.backward.exchanges]
    assert (kinds.count("all_gather"), kinds.count("reduce_scatter")) == (1 + 2 + 2, 2 + 1 + 1)


def test_the_products_up_are_computed_again() -> None:
    config = config_of("training.recompute=selective", "training.recompute_modules=[mla_up_proj]")
    again = layer(config).again
    up = Q_RANK * HEADS * (PLAIN + TURNED) + KV_RANK * HEADS * (PLAIN + VALUE)
    assert flop(again, "linear") == pytest.approx(2 * up * tokens_of(config))
    model = gpt_of(config)
    assert counts.recomputed_flops_per_sample(model, 1, ["mla_up_proj"]) == model.num_layers * 2 * up


def test_what_generation_keeps_of_a_token() -> None:
    """The paper on DeepSeek-V2 (arXiv 2405.04434, table 1) has the least; Llama 3 has nothing less than its groups."""
    config = config_of()
    layers, told = gpt_of(config).num_layers, make_plan(config).key_values
    assert told
    assert told.per_token == 2 * layers * HEADS * (PLAIN + TURNED + VALUE)
    assert told.least_per_token == 2 * layers * (KV_RANK + TURNED)
    llama = make_plan(compose([*large("llama3_8b"), "training.precision=bf16"])).key_values
    assert llama
    assert llama.per_token == llama.least_per_token == 2 * 32 * 2 * 8 * 128


def test_fp8_takes_multiples_of_sixteen() -> None:
    fp8 = ["training.fp8=hybrid", "training.fp8_recipe=tensorwise", "kernels.attention=null"]
    make_plan(config_of(*fp8))
    for field, value, fact in (
        ("q_lora_rank", 1528, "1528 = 95 x 16 + 8"),
        ("kv_lora_rank", 520, "520 = 32 x 16 + 8"),
        ("qk_pos_emb_head_dim", 72, "584 = 36 x 16 + 8"),
    ):
        with refused(f"model.{field}", fact):
            make_plan(config_of(*fp8, f"model.{field}={value}"))
