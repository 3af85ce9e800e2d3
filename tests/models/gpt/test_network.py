"""What Megatron-core is told of a GPT."""

import pytest
import torch

from slipway.config.compose import compose
from slipway.models.gpt.network import transformer_config


@pytest.mark.parametrize("linear", ["te", "torch", "unfused"])
def test_gelu_is_the_same_function_whatever_computes_it(linear: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused with its bias, Megatron-core's is the approximation by tanh, which is up to 5e-4 away."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = transformer_config(compose(["model=gpt3_125m", f"kernels.linear={linear}"]))
    assert settings.activation_func is torch.nn.functional.gelu
    assert not settings.bias_activation_fusion
