"""Orthogonalization by a Newton-Schulz iteration. Imports torch."""

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial a x + b x^3 + c x^5, which is applied to the singular values.

It is steepest at zero, and keeps them between about 0.7 and 1.2 instead of converging to 1
(https://kellerjordan.github.io/posts/muon/).
"""
EPS = 1e-7
"""The smallest norm that a matrix is divided by."""


def orthogonalized(x: Tensor, steps: int) -> Tensor:
    """Return about U V^T for each matrix U S V^T in `x`, [matrices, rows, columns], in the same shape and type."""
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    wide = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True, dtype=wide)
    x = (x / norm.clamp(min=EPS)).to(x.dtype)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
