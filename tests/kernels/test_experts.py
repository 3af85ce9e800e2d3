"""Grouped experts against each expert by itself in float64: outputs and gradients, experts without tokens too."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from presets import preset
from slipway.config.compose import compose
from slipway.kernels.experts import GroupedExperts
from slipway.models.gpt.config import gpt_of
from slipway.models.transformer.recompute import experts_trouble

HIDDEN, WIDE = 24, 40
ERROR = {torch.float32: 2e-6, torch.bfloat16: 3e-2}  # largest, relative to the largest value
ONE = SimpleNamespace(size=lambda: 1, rank=lambda: 0)


def experts(
    count: int, *, gated: bool, dtype: torch.dtype, hidden: int = HIDDEN, wide: int = WIDE
) -> GroupedExperts:
    config = TransformerConfig(
        num_layers=1,
        hidden_size=hidden,
        ffn_hidden_size=wide,
        num_attention_heads=1,
        num_moe_experts=count,
        add_bias_linear=False,
        gated_linear_unit=gated,
        activation_func=F.silu if gated else F.gelu,
        params_dtype=dtype,
        bias_activation_fusion=False,
    )
    module = GroupedExperts(count, config, pg_collection=SimpleNamespace(ep=ONE, expt_tp=ONE, expt_dp=ONE))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) / weight.shape[-1] ** 0.5)
    return module


def expected(x: Tensor, counts: list[int], probabilities: Tensor, fc1: Tensor, fc2: Tensor) -> Tensor:
    parts = []
    for tokens, weights, first, second in zip(
        x.split(counts), probabilities.split(counts), fc1, fc2, strict=True
    ):
        wide = tokens @ first.t()
        gated = len(first) == 2 * WIDE
        wide = F.silu(wide[:, :WIDE]) * wide[:, WIDE:] if gated else F.gelu(wide)
        parts.append((wide * weights[:, None]) @ second.t())
    return torch.cat(parts)


@pytest.mark.parametrize("dtype", ERROR, ids=str)
@pytest.mark.parametrize("gated", [True, False], ids=["swiglu", "gelu"])
@pytest.mark.parametrize("counts", [[7], [3, 0, 5, 1], [0, 0, 9], [0, 0]], ids=str)
def test_against_float64(dtype: torch.dtype, gated: bool, counts: list[int]) -> None:
    module = experts(len(counts), gated=gated, dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(sum(counts), HIDDEN, generator=generator).to(dtype).requires_grad_()
    probabilities = torch.rand(sum(counts), generator=generator).requires_grad_()
    got, bias = module(x, torch.tensor(counts), probabilities)
    assert bias is None and got.dtype == dtype
    words = [x, probabilities, module.fc1, module.fc2]
    wide = [word.detach().double().requires_grad_() for word in words]
    reference = expected(wide[0], counts, *wide[1:])
    upstream = torch.randn(got.shape, generator=generator, dtype=torch.float64)
    ours = torch.autograd.grad(got, words, upstream.to(dtype))
    theirs = torch.autograd.grad(reference, wide, upstream.to(dtype).double())
    for one, other in zip([got, *ours], [reference, *theirs], strict=True):
        if other.numel():
            scale = other.abs().max().clamp_min(1e-30)
            assert (one.double() - other).abs().max() / scale < ERROR[dtype]


def test_the_entries_for_checkpoints_are_views_and_join_again() -> None:
    """Weights are filled, and checkpoints read, through them."""
    module = experts(3, gated=True, dtype=torch.float32)
    entries: dict[str, Any] = module.sharded_state_dict("mlp.")
    for name, weight in (("mlp.fc1", module.fc1), ("mlp.fc2", module.fc2)):
        entry = entries[name]
        with torch.no_grad():
            parts = entry.build()
            assert {part.key for part in parts} == {f"mlp.experts.linear_{name[4:]}.weight"}
            assert len({part.global_offset for part in parts}) == len(parts)
            assert torch.equal(entry.merge_fn([part.data.clone() for part in parts]), weight)
            parts[-1].data.fill_(7.0)
        assert (weight[-1][-1] == 7.0).all()


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize("hidden", [16, 18, 20])
@pytest.mark.parametrize("wide", [16, 18, 20])
def test_widths_that_torch_refuses_are_known_before(
    precision: str, dtype: torch.dtype, hidden: int, wide: int
) -> None:
    config = compose([*preset("mixtral_8x7b"), f"training.precision={precision}"])
    block = gpt_of(config).blocks[0]._replace(hidden_size=hidden, mlp_size=wide)
    module = experts(2, gated=True, dtype=dtype, hidden=hidden, wide=wide)
    x = torch.ones(4, hidden, dtype=dtype, requires_grad=True)
    if experts_trouble("torch", config, [block]) is None:
        module(x, torch.tensor([2, 2]), torch.ones(4))[0].square().sum().backward()
        return
    with pytest.raises(RuntimeError, match="16 bytes"):
        module(x, torch.tensor([2, 2]), torch.ones(4))[0].square().sum().backward()
