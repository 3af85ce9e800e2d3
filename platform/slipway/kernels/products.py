"""x W^T + b by torch or by oneDNN, which torch includes but does not use for fp32.

torch gives products in fp32 to MKL on x86. On AMD's processors with AVX-512 oneDNN is faster, probably because MKL uses
its kernels for AVX2 there: docs/dev/performance.md has by how much. Weights are read in either order, so that the
input's gradient is a product of this kind, too; for the weight's gradient oneDNN would copy first, and gains nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from slipway.errors import UserError

WORTHWHILE = 2**22
"""Multiplications from which on oneDNN is faster; below, its call costs more than it gains."""

_chosen = "torch"


def use(backend: str) -> None:
    """Set the backend of `linear` in fp32 on CPUs. Raises UserError if this torch has no oneDNN."""
    global _chosen
    if backend == "onednn" and not torch.backends.mkldnn.is_available():
        raise UserError(
            "kernels.product", f"torch {torch.__version__} was built without it", value="onednn", use="torch"
        )
    _chosen = backend


def by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `linear`'s result, [..., out], by the operator that torch's compiler uses on CPUs.

    The operator has no documented name. x: [..., in], weight: [out, in], bias: [out].
    """
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x [..., in] times weight [out, in], transposed, plus bias [out]: [..., out]. Not for autograd.

    The weight may be a transposed view.
    """
    if (
        _chosen == "onednn"
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() * weight.shape[0] >= WORTHWHILE
    ):
        return by_onednn(x, weight, bias)
    return F.linear(x, weight, bias)
