"""Against numbers worked out by hand, at b=2, s=8, h=16, n=4, g=2, d=4, f=64, V=128, fp32."""

import pytest

from presets import preset
from slipway.bench import kernel_counts as counts
from slipway.config.compose import compose
from slipway.config.schema import RunConfig
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer.counts import layer as layer_of

SHAPE = counts.Shape(
    sequence=8, batch=2, hidden=16, heads=4, groups=2, head=4, mlp=64, vocabulary=128, element=4
)


@pytest.fixture
def config() -> RunConfig:
    return compose(
        [
            "model.hidden_size=16",
            "model.num_attention_heads=4",
            "model.num_query_groups=2",
            "model.vocab_size=128",
            "model.max_position_embeddings=8",
            "training.micro_batch_size=2",
        ]
    )


def test_the_shape_is_the_configurations(config: RunConfig) -> None:
    assert counts.shape_of(config) == SHAPE
    half = config.model_copy(update={"training": config.training.model_copy(update={"precision": "bf16"})})
    assert counts.shape_of(half).element == 2


def test_by_hand() -> None:
    assert counts.norm(SHAPE, "layer_norm") == (5 * 256 * 4, 3 * 7 * 256)
    assert counts.norm(SHAPE, "rms_norm") == (5120, 3072)
    assert counts.attention_forward(SHAPE, documents=4).flops == counts.attention_forward(SHAPE).flops / 4
    assert counts.attention_forward(SHAPE) == (16 * 4 * 12 * 4, 2 * 2 * 8 * 8 * 16 / 2 * 2)
    assert counts.attention(SHAPE) == (9216, 12288)
    assert counts.mlp(SHAPE, gated=False) == ((3 * 2048 + 5 * 256 + 11 * 1024) * 4, 6 * 16 * 2048)
    assert counts.mlp(SHAPE, gated=True) == ((3 * 3072 + 5 * 256 + 17 * 1024) * 4, 6 * 16 * 3072)
    assert counts.swiglu(SHAPE) == (8 * 1024 * 4, 3 * 5 * 1024)
    assert counts.rotary(SHAPE) == (4 * 16 * 6 * 4 * 4, 2 * 3 * 16 * 6 * 4)
    assert counts.cross_entropy(SHAPE) == (3 * (16 + 128) * 16 * 4, 6 * 16 * 16 * 128)


@pytest.mark.parametrize("name", ["demo", "llama3_8b", "gpt3_1_3b"])
def test_adamw_has_every_parameter_of_a_layer(name: str) -> None:
    config = compose(preset(name))
    layer = layer_of(gpt_of(config).blocks[0]).total
    assert counts.adamw(config) == (28 * layer, 15 * layer)


def test_the_narrower_ceiling_decides() -> None:
    assert counts.least_seconds(counts.Cost(bytes=100, flops=1000), 100, 100) == (10, "matmul")
    assert counts.least_seconds(counts.Cost(bytes=5000, flops=1000), 100, 100) == (50, "memory")
