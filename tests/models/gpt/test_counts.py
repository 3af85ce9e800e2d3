import pytest
from hypothesis import given
from hypothesis import strategies as st

from presets import preset
from slipway.config.compose import compose
from slipway.models.family import Shard
from slipway.models.gpt import counts
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.transformer.counts import layer
from slipway.plan import make_plan


def model(**more) -> Config:
    sizes = dict(
        name="m",
        num_layers=2,
        hidden_size=8,
        num_attention_heads=2,
        vocab_size=10,
        max_position_embeddings=16,
    )
    return Config(**{**sizes, "make_vocab_size_divisible_by": 4, **more})


def held(gpt: Config, layers: int, *, first: bool, last: bool, tp: int = 1, ep: int = 1) -> Shard:
    """Parameters of a rank whose stage has so many transformer layers and, first or last, what is at the ends."""
    total = Shard(*(layers * count for count in layer(gpt.blocks[0], tp, ep)))
    if first:
        total += counts.embedding(gpt, tp)
    if last:
        total += counts.head(gpt, tp, copies_embedding=not first)
    return total


def parameters(gpt: Config) -> int:
    return held(gpt, gpt.num_layers, first=True, last=True).total


@pytest.mark.parametrize(
    ("name", "total"),
    [
        # published checkpoints, to the parameter
        ("llama3_8b", 8_030_261_248),
        ("llama3_70b", 70_553_706_496),
        ("llama3_405b", 405_853_388_800),
        ("mixtral_8x7b", 46_702_792_704),
        ("llama3_2_1b", 1_235_814_400),
        ("smollm2_135m", 134_515_008),
        ("qwen3_0_6b", 596_049_920),
        ("qwen3_8b", 8_190_735_360),
        ("qwen3_30b_a3b", 30_532_122_624),
        ("gpt2", 124_439_808 + 47 * 768),  # and the rows that fill the table up to a multiple of 128
    ],
)
def test_published_totals(name: str, total: int) -> None:
    assert make_plan(compose([*preset(name), "parallelism=single"])).parameters == total


DEEPSEEK = 671_026_404_352
"""Of the main model; with the routers' 58 x 256 biases, which are no parameters, 671,026,419,200."""


WITHOUT_PREDICTION = ["model.mtp_num_layers=null", "model.mtp_loss_scaling_factor=0.1"]


def test_published_totals_of_deepseek_v3() -> None:
    """Its prediction layer has a layer's parameters, a projection and three norms, and shares both tables."""
    words, alone = preset("deepseek_v3"), "parallelism=single"
    assert make_plan(compose([*words, alone, *WITHOUT_PREDICTION])).parameters == DEEPSEEK
    ahead = 11_507_286_016 + 2 * 7168**2 + 3 * 7168
    assert make_plan(compose([*words, alone])).parameters == DEEPSEEK + ahead


@pytest.mark.parametrize(
    ("name", "more", "active", "without_embedding"),
    [
        ("mixtral_8x7b", [], 12_879_925_248, None),  # printed: 13B
        ("qwen3_30b_a3b", [], 3_353_032_704, None),  # 3.3B, of which 3.0B outside the tables
        # 37B; the published weights' description: 36.6B, the output layer among them, not the embedding
        ("deepseek_v3", WITHOUT_PREDICTION, 37_552_282_624, 36_625_603_584),
    ],
)
def test_published_active_parameters(
    name: str, more: list[str], active: int, without_embedding: int | None
) -> None:
    gpt = gpt_of(compose([*preset(name), *more]))
    assert counts.active_parameters(gpt) == active
    if without_embedding is not None:
        assert active - counts.embedding(gpt).total == without_embedding


@pytest.mark.parametrize(
    ("name", "millions", "unit"),
    [
        ("gpt3_125m", 125, 1),
        ("gpt3_350m", 356, 1),  # the paper rounds down
        ("gpt3_760m", 760, 1),
        ("gpt3_1_3b", 1_300, 100),
        ("gpt3_2_7b", 2_700, 100),
        ("gpt3_6_7b", 6_700, 100),
        ("gpt3_13b", 13_000, 1_000),
        ("gpt3_175b", 175_000, 1_000),
    ],
)
def test_gpt3_has_the_size_of_its_name(name: str, millions: int, unit: int) -> None:
    total = make_plan(compose([*preset(name), "parallelism=single"])).parameters
    assert round(total / 1e6 / unit) * unit == millions


def test_mixtral_activates_two_experts_of_eight() -> None:
    assert round(make_plan(compose(preset("mixtral_8x7b"))).active_parameters / 1e9, 1) == 12.9


def test_by_hand() -> None:
    # embedding 12 x 8, positions 16 x 8; per layer: 2 norms of 16, QKV 8 x 24 + 24, projection 8 x 8 + 8,
    # MLP 8 x 32 + 32 and 32 x 8 + 8; final norm 16
    layer = 2 * 16 + (8 * 24 + 24) + (8 * 8 + 8) + (8 * 32 + 32) + (32 * 8 + 8)
    assert parameters(model()) == 12 * 8 + 16 * 8 + 2 * layer + 16


def test_by_hand_gated_grouped_untied_with_experts() -> None:
    small = model(
        num_query_groups=1,
        ffn_hidden_size=6,
        normalization="RMSNorm",
        activation="swiglu",
        add_bias_linear=False,
        position_embedding_type="rope",
        untie_embeddings_and_output_weights=True,
        num_moe_experts=4,
        moe_router_topk=1,
    )
    expert = 2 * 8 * 6 + 6 * 8
    layer = 2 * 8 + 8 * (8 + 2 * 4) + 8 * 8 + 8 * 4 + 4 * expert
    total = 2 * 12 * 8 + 2 * layer + 8
    assert (parameters(small), counts.active_parameters(small)) == (total, total - 2 * 3 * expert)


@st.composite
def models(draw) -> Config:
    heads = draw(st.sampled_from([4, 8]))
    experts = draw(st.sampled_from([None, 4]))
    return model(
        num_layers=8,
        hidden_size=8 * heads,
        num_attention_heads=heads,
        num_query_groups=draw(st.sampled_from([None, 4])),
        ffn_hidden_size=draw(st.sampled_from([None, 16])),
        normalization=draw(st.sampled_from(["LayerNorm", "RMSNorm"])),
        activation=draw(st.sampled_from(["gelu", "swiglu"])),
        add_bias_linear=draw(st.booleans()),
        position_embedding_type=draw(st.sampled_from(["learned_absolute", "rope"])),
        untie_embeddings_and_output_weights=draw(st.booleans()),
        num_moe_experts=experts,
    )


@given(models(), st.sampled_from([1, 2, 4, 8]))
def test_stages_add_up(gpt: Config, stages: int) -> None:
    shards = [held(gpt, 8 // stages, first=stage == 0, last=stage == stages - 1) for stage in range(stages)]
    copy = 0
    if stages > 1 and not gpt.untie_embeddings_and_output_weights:
        copy = gpt.padded_vocab_size * gpt.hidden_size
    assert sum(shards, Shard(0, 0)).total == parameters(gpt) + copy


@given(models(), st.sampled_from([2, 4]))
def test_tensor_parallel_ranks_add_up(gpt: Config, tp: int) -> None:
    whole = held(gpt, 8, first=True, last=True)
    shard = held(gpt, 8, first=True, last=True, tp=tp)
    norm = gpt.hidden_size * (2 if gpt.normalization == "LayerNorm" else 1)
    bias = gpt.hidden_size if gpt.add_bias_linear else 0
    replicated = 8 * (2 * norm + bias) + norm
    if gpt.position_embedding_type == "learned_absolute":
        replicated += gpt.max_position_embeddings * gpt.hidden_size
    if gpt.num_moe_experts:
        replicated += 8 * gpt.hidden_size * gpt.num_moe_experts
        assert shard.expert * tp == whole.expert + (tp - 1) * 8 * 4 * bias
    else:
        replicated += 8 * bias
    assert shard.dense * tp == whole.dense + (tp - 1) * replicated


@given(models())
def test_expert_parallel_ranks_add_up(gpt: Config) -> None:
    whole = held(gpt, 8, first=True, last=True)
    half = held(gpt, 8, first=True, last=True, ep=2)
    assert (half.dense, half.expert * 2) == whole


@pytest.mark.parametrize(
    ("layers", "hidden", "heads"), [(24, 2304, 24), (48, 8192, 64), (80, 12288, 96), (128, 25600, 160)]
)
def test_flops_of_the_megatron_paper(layers: int, hidden: int, heads: int) -> None:
    """arXiv 2104.04473, equation 3 is with full recomputation: 96 B s l h^2 (1 + s/(6h) + V/(16 l h))."""
    s, vocabulary = 2048, 51200
    gpt = model(
        num_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        vocab_size=vocabulary,
        max_position_embeddings=s,
        make_vocab_size_divisible_by=128,
    )
    forward_again = 24 * s * layers * hidden**2 * (1 + s / (6 * hidden))
    published = 96 * s * layers * hidden**2 * (1 + s / (6 * hidden) + vocabulary / (16 * layers * hidden))
    assert counts.flops_per_sample(gpt, s) + forward_again == pytest.approx(published, rel=1e-12)


def test_flops_per_token_are_about_six_per_parameter() -> None:
    config = compose(preset("llama3_8b"))
    per_token = counts.flops_per_sample(gpt_of(config), 8192) / 8192
    embedding = 128256 * 4096
    attention = 12 * 32 * 4096 * 8192
    norms = 65 * 4096
    assert per_token == 6 * (8_030_261_248 - embedding - norms) + attention


def test_flops_count_active_experts_only() -> None:
    def flops(**more) -> int:
        return counts.flops_per_sample(model(**more), 1)

    expert = 2 * 8 * 32
    router = 8 * 4
    assert flops(num_moe_experts=4, moe_router_topk=2) - flops() == 6 * 2 * (expert + router)
