"""The float64 forms against torch's own functions, and that a wrong result is seen."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from slipway.bench.kernel_cases import Seen
from slipway.bench.kernel_table import OPERATORS, of_operator
from slipway.bench.kernel_truth import TRUTHS, adamw_error, error, errors
from slipway.config.compose import compose

CONFIG = compose(
    ["model=demo", "model.hidden_size=24", "model.num_attention_heads=4", "model.num_query_groups=2"]
)


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def seen(output: Tensor, inputs: list[Tensor], **given: Any) -> Seen:
    upstream = torch.ones_like(output) if output.dim() else None
    return Seen(
        output, inputs, upstream, torch.autograd.grad(output, inputs, upstream, allow_unused=True), given
    )


def found(operator: str, call: Seen) -> float:
    return max(errors(of_operator(CONFIG, operator), operator, call))


def test_every_operator_has_one() -> None:
    compared_elsewhere = {"attention_forward", "adamw"}
    assert set(OPERATORS) - compared_elsewhere <= set(TRUTHS)


@pytest.mark.parametrize("operator", ["layer_norm", "rms_norm"])
def test_norms(operator: str) -> None:
    x, weight, bias = random(5, 3, 24), random(24, seed=1), random(24, seed=2)
    if operator == "layer_norm":
        call = seen(F.layer_norm(x, [24], weight, bias, eps=1e-5), [x, weight, bias])
    else:
        call = seen(F.rms_norm(x, [24], weight, eps=1e-5), [x, weight])
    assert found(operator, call) < 1e-12


@pytest.mark.parametrize(("operator", "documents"), [("attention", 1), ("attention_documents", 4)])
def test_attention(operator: str, documents: int) -> None:
    q, k, v = random(13, 2, 4, 6), random(13, 2, 2, 6, seed=1), random(13, 2, 2, 6, seed=2)
    wide = [x.permute(1, 2, 0, 3) for x in (q, k, v)]
    length = -(-13 // documents)
    parts = [
        F.scaled_dot_product_attention(
            wide[0][:, :, at : at + length],
            wide[1][:, :, at : at + length],
            wide[2][:, :, at : at + length],
            is_causal=True,
            enable_gqa=True,
        )
        for at in range(0, 13, length)
    ]
    out = torch.cat(parts, dim=2).permute(2, 0, 1, 3).flatten(2)
    assert found(operator, seen(out, [q, k, v])) < 1e-12


@pytest.mark.parametrize("handed_on", [False, True])
def test_mlp_with_gelu(handed_on: bool) -> None:
    """The last bias is added, or handed on: then it takes no part in the output."""
    x, first, second = random(4, 2, 24), random(40, 24, seed=1), random(24, 40, seed=2)
    biases = random(40, seed=3), random(24, seed=4)
    out = F.linear(F.gelu(F.linear(x, first, biases[0])), second, None if handed_on else biases[1])
    assert found("mlp_gelu", seen(out, [x, first, biases[0], second, biases[1]])) < 1e-12


def test_mlp_with_swiglu() -> None:
    x, first, second = random(4, 2, 24), random(80, 24, seed=1), random(24, 40, seed=2)
    gate, up = F.linear(x, first).chunk(2, dim=-1)
    assert found("mlp_swiglu", seen(F.linear(F.silu(gate) * up, second), [x, first, second])) < 1e-12


@pytest.mark.parametrize("grouped", [True, False])
def test_experts(grouped: bool) -> None:
    """Weights of all experts in one tensor, or of each by itself, one after the other."""
    counts, shares = torch.tensor([3, 0, 2]), random(5, seed=5)
    x, firsts, seconds = random(5, 24), random(3, 80, 24, seed=1), random(3, 24, 40, seed=2)
    weights = (
        [firsts, seconds]
        if grouped
        else [w.detach().requires_grad_() for pair in zip(firsts, seconds, strict=True) for w in pair]
    )
    whole = (firsts, seconds) if grouped else (weights[::2], weights[1::2])
    parts = []
    for tokens, share, first, second in zip(
        x.split(counts.tolist()), shares.split(counts.tolist()), *whole, strict=True
    ):
        gate, up = (tokens @ first.t()).chunk(2, dim=-1)
        parts.append((F.silu(gate) * up * share[:, None]) @ second.t())
    call = seen(torch.cat(parts), [x, *weights], of_expert=counts, probabilities=shares)
    assert found("experts", call) < 1e-12


def test_cross_entropy() -> None:
    x, weight, labels = random(5, 3, 24), random(17, 24, seed=1), torch.arange(15).view(5, 3)
    losses = F.cross_entropy((x @ weight.t()).flatten(0, 1), labels.flatten(), reduction="none")
    assert found("cross_entropy", seen(losses.sum(), [x, weight], labels=labels)) < 1e-12


def test_rotary_turns_neither_the_first_token_nor_a_length() -> None:
    x = random(7, 2, 4, 6)
    (turned,) = TRUTHS["rotary"](CONFIG, [x], seen(x * 1.0, [x]))
    assert torch.equal(turned[0], x[0]) and not torch.allclose(turned[1], x[1])
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1))
    angle = torch.tensor(3.0, dtype=torch.float64)  # of token 3, first pair
    assert torch.allclose(turned[3, ..., 0], x[3, ..., 0] * angle.cos() - x[3, ..., 3] * angle.sin())


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": False}])
def test_adamw(options: dict[str, Any]) -> None:
    weights = [random(9, 5).detach().float(), random(7, seed=1).detach().float()]
    for weight in weights:
        weight.requires_grad_().grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    right = torch.optim.AdamW(weights, lr=0.1, weight_decay=0.1, **options)
    assert adamw_error(right.step) < 1e-5
    wrong = torch.optim.AdamW(
        [w.detach().clone().requires_grad_() for w in weights], lr=0.1, weight_decay=0.2
    )
    for weight, clean in zip(wrong.param_groups[0]["params"], weights, strict=True):
        weight.grad = clean.grad
    assert adamw_error(wrong.step) > 1e-3


def test_what_is_wrong_is_seen() -> None:
    x, weight = random(5, 3, 24), random(24, seed=1)
    right = seen(F.rms_norm(x, [24], weight, eps=1e-5), [x, weight])
    one, two = right.gradients
    assert found("rms_norm", right._replace(output=right.output * 1.01)) == pytest.approx(0.01)
    assert found("rms_norm", right._replace(gradients=[one, two * 1.01])) == pytest.approx(0.01)
    assert found("rms_norm", right._replace(gradients=[one, None])) == float("inf")
    assert error(torch.tensor([float("nan")]), torch.tensor([1.0])) == float("inf")
    assert error(torch.zeros(2), torch.zeros(3)) == float("inf")
