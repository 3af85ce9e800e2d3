"""Muon in plain PyTorch, in float64: what reference.plain.train takes as `own`.

Written anew from https://kellerjordan.github.io/posts/muon/ and arXiv 2502.16982; shares no code with Slipway,
Megatron-core or torch.optim. The iteration's polynomial is applied to singular values, so that no product is the same.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

FAULTS = (
    "Q, K and V are one matrix",
    "gate and up are one matrix",
    "experts are one matrix",
    "the router is AdamW's",
    "the embedding is a matrix",
    "without Nesterov's look",
    "a step less",
    "converged",
    "the smaller side",
    "decay by the adjusted rate",
    "momentum of sums",
)


@dataclass
class Muon:
    """Of one training, from its first step on."""

    groups: int
    """Of heads that share keys and values."""
    heads: int
    adjust: str
    momentum: float
    weight_decay: float
    gated: bool
    """Whether a first weight of an MLP holds the gate's rows and as many more."""
    fault: str = ""
    kept: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, name: str, weight: Tensor, gradient: Tensor, rate: float) -> Tensor | None:
        """The new weight of a hidden matrix."""
        kind = name.split(".", 1)[-1]
        tables = () if self.fault == "the embedding is a matrix" else ("embedding",)
        if weight.dim() < 2 or name in (*tables, "positions", "output"):
            return None
        if kind == "router" and self.fault == "the router is AdamW's":
            return None
        m, before = self.momentum, self.kept.get(name, torch.zeros_like(gradient))
        fresh = 1.0 if self.fault == "momentum of sums" and name not in self.kept else 1 - m
        after = self.kept[name] = m * before + fresh * gradient
        update = after if self.fault == "without Nesterov's look" else m * after + (1 - m) * gradient
        change = torch.zeros_like(weight)
        for rows in self._matrices(kind, weight):
            change[rows] = self._orthogonal(update[rows])
        decayed = self.weight_decay * weight
        if self.fault == "decay by the adjusted rate":
            decayed = decayed * self._scale(*weight.shape[-2:])
        return weight - rate * (change + decayed)

    def _matrices(self, kind: str, weight: Tensor) -> list[Any]:
        """Indices of the rows of each matrix in a weight."""
        if kind.endswith("experts"):
            if self.fault == "experts are one matrix":
                return [slice(None)]
            each = [slice(None)] if kind == "out.experts" else _halves(weight.shape[1], self.fault)
            return [(expert, rows) for expert in range(len(weight)) for rows in each]
        if kind == "qkv.weight" and self.fault != "Q, K and V are one matrix":
            queries = self.heads // self.groups
            size = len(weight) // (self.groups * (queries + 2))  # of a head
            of_head = torch.arange(len(weight)) // size % (queries + 2)  # its place in its group
            return [of_head < queries, of_head == queries, of_head == queries + 1]
        if kind == "in.weight" and self.gated:
            return list(_halves(len(weight), self.fault))
        return [slice(None)]

    def _orthogonal(self, x: Tensor) -> Tensor:
        if x.dim() > 2:
            return self._orthogonal(x.flatten(0, 1)).view(x.shape)
        u, s, v = torch.linalg.svd(x, full_matrices=False)
        s = s / s.square().sum().sqrt()
        for _ in range(4 if self.fault == "a step less" else 5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        if self.fault == "converged":
            s = torch.ones_like(s)
        return self._scale(*x.shape) * (u * s) @ v

    def _scale(self, rows: int, columns: int) -> float:
        larger, smaller = max(rows, columns), min(rows, columns)
        if self.adjust == "original":
            return max(1.0, rows / columns) ** 0.5
        return 0.2 * (smaller if self.fault == "the smaller side" else larger) ** 0.5


def _halves(rows: int, fault: str) -> list[slice]:
    if fault == "gate and up are one matrix":
        return [slice(None)]
    return [slice(0, rows // 2), slice(rows // 2, rows)]
