"""What Megatron-core is told of a GPT."""

from typing import Any

import pytest
import torch
from megatron.core.transformer.utils import is_layer_window_attention

from presets import preset
from slipway.config.compose import compose
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.transformer import transformer_config


@pytest.mark.parametrize("linear", ["te", "torch", "unfused"])
def test_gelu_is_the_same_function_whatever_computes_it(linear: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused with its bias, Megatron-core's is the approximation by tanh, which is up to 5e-4 away."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = transformer_config(compose([*preset("gpt3_125m"), f"kernels.linear={linear}"]), {})
    assert settings.activation_func is torch.nn.functional.gelu
    assert not settings.bias_activation_fusion


@pytest.mark.parametrize("which", ["null", "2", "[0,1,1,0]"])
@pytest.mark.parametrize("depths", [0, 2])
def test_transformer_engine_finds_the_window_of_each_layer(which: str, depths: int) -> None:
    """By the layer's number; those of multi-token prediction come after all others, and are like the last of them."""
    words = ["model.window_size=8", f"model.window_attn_skip_freq={which}", "model.num_layers=4"]
    predicting = [f"model.mtp_num_layers={depths}", "model.position_embedding_type=rope"] if depths else []
    config = compose([*preset("demo"), *words, *predicting])
    settings: Any = transformer_config(config, {})
    blocks = gpt_of(config).blocks
    for number, block in enumerate([*blocks, *blocks[-1:] * depths], start=1):
        found = is_layer_window_attention(settings.window_size, settings.window_attn_skip_freq, number)
        assert found == (block.window is not None), f"layer {number}"
    assert settings.window_size == (7, 0)
