"""Muon's update of single matrices against torch.optim.Muon, and its iteration against what it is for."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from slipway.config.compose import compose
from slipway.optimizers.kind import Held
from slipway.optimizers.matrix import Matrix
from slipway.optimizers.muon.newton_schulz import orthogonalized
from slipway.optimizers.muon.optimizer import OPTIMIZER

STEPS = 10
# what a rank holds, and the rows in it of each matrix that torch's Muon is given
WEIGHTS = {
    "wide": ((24, 64), Matrix(), [range(24)]),
    "tall": ((64, 24), Matrix(), [range(64)]),
    "a few rows": ((4, 64), Matrix(), [range(4)]),
    "gate and up of two ranks": (
        (48, 32),
        Matrix((12, 12)),
        [[*range(12), *range(24, 36)], [*range(12, 24), *range(36, 48)]],
    ),
    "two groups of queries, keys and values": (
        (64, 32),
        Matrix((16, 8, 8)),
        [[*range(16), *range(32, 48)], [*range(16, 24), *range(48, 56)], [*range(24, 32), *range(56, 64)]],
    ),
}


class OneRank:
    """Wholes of a rank that holds all."""

    def __init__(self, held: list[Held]) -> None:
        self.held = held

    def apply(self, piece: Callable, function: Callable, take: Callable) -> None:
        for index, one in enumerate(self.held):
            assert one.main is not None
            take(index, function(index, piece(index).view(-1, *one.main.shape[-2:])).reshape(-1))


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust", ["original", "match_rms_adamw"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_matrices_are_updated_as_by_torch(
    name: str, adjust: str, nesterov: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.optim.Muon iterates in bf16; here in the type that it is given, which is what is compared."""
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.clone)  # of torch 2.13
    monkeypatch.setattr(torch, "bfloat16", torch.float64)  # of torch 2.15
    shape, matrix, parts = WEIGHTS[name]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    words = [f"optimizer.adjust_lr_fn={adjust}", f"optimizer.nesterov={str(nesterov).lower()}"]
    config = compose(["optimizer=muon", "optimizer.lr=0.05", "optimizer.weight_decay=0.3", *words])

    own = torch.nn.Parameter(start.clone())
    optimizer = OPTIMIZER.build([{"params": [own]}], config)
    held = [Held(matrix, own)]
    OPTIMIZER.arrange(optimizer, held, OneRank(held))
    torchs = [torch.nn.Parameter(start[list(rows)].double()) for rows in parts]
    other = torch.optim.Muon(
        torchs, lr=0.05, weight_decay=0.3, momentum=0.95, nesterov=nesterov, adjust_lr_fn=adjust
    )
    for _ in range(STEPS):
        gradient = torch.randn(shape, generator=generator)
        own.grad = gradient.clone()
        for parameter, rows in zip(torchs, parts, strict=True):
            parameter.grad = gradient[list(rows)].double()
        optimizer.step()
        other.step()
    for parameter, rows in zip(torchs, parts, strict=True):
        torch.testing.assert_close(own.detach()[list(rows)].double(), parameter.detach(), rtol=0, atol=2e-5)
    assert set(optimizer.state[own]) == {"momentum_buffer"}


@pytest.mark.parametrize("shape", [(3, 16, 48), (1, 48, 16), (2, 20, 32)])
def test_singular_values_come_near_to_one_and_vectors_stay(shape: tuple[int, int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = orthogonalized(x, steps=5)
    values = torch.linalg.svdvals(y)
    assert float(values.min()) > 0.65
    assert float(values.max()) < 1.25
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    rotated = u.mT @ y @ v.mT
    torch.testing.assert_close(
        rotated, torch.diag_embed(rotated.diagonal(dim1=-2, dim2=-1)), rtol=0, atol=1e-9
    )


def test_nothing_is_divided_by_nothing() -> None:
    assert torch.equal(orthogonalized(torch.zeros(1, 4, 8), steps=5), torch.zeros(1, 4, 8))


def test_all_other_parameters_are_adamws() -> None:
    words = ["optimizer.adamw_lr=0.01", "optimizer.beta2=0.9", "optimizer.weight_decay=0.2"]
    config = compose(["optimizer=muon", "optimizer.lr=0.05", *words])
    start, generator = torch.randn(8, 4, generator=torch.Generator().manual_seed(2)), torch.Generator()
    own, other = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizer: Any = OPTIMIZER.build([{"params": [own]}], config)
    OPTIMIZER.arrange(optimizer, [], OneRank([]))
    adamw = torch.optim.AdamW([other], lr=0.01, betas=(0.9, 0.9), eps=1e-8, weight_decay=0.2)
    for _ in range(STEPS):
        own.grad = torch.randn(start.shape, generator=generator)
        other.grad = own.grad.clone()
        optimizer.step()
        adamw.step()
    torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-7)
    assert set(optimizer.state[own]) == {"step", "exp_avg", "exp_avg_sq"}
