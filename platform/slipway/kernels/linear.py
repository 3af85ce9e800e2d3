"""Tensor-parallel linear layers for torch's kernels, with fused bias and weight gradients accumulated in place.

Megatron-core's own layers add the bias in a separate pass, or leave it to the next function, and give the weight's
gradient to autograd, from which data parallelism adds it to the main gradient: with fp32 gradients these layers avoid
both passes over memory. The communication is Megatron-LM's (Shoeybi et al. 2019, arXiv 1909.08053, section 3; with
sequence parallelism Korthikanti et al. 2022, arXiv 2205.05198, section 4.2.2).
"""

from typing import Any

import torch
from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup

from slipway.kernels import products


class ColumnLinear(ColumnParallelLinear):
    """x W^T + b, with outputs split over the ranks. It adds its bias itself, even if Megatron-core would pass it on."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self.skip_bias_add = False

    def _forward_impl(self, input: Tensor, weight: Tensor, *words: Any, **named: Any) -> Tensor:
        if self.gradient_accumulation_fusion:  # apex's kernel
            return super()._forward_impl(input, weight, *words, **named)
        return _linear(input, weight, **named)


class RowLinear(RowParallelLinear):
    """x W^T + b, with inputs split over the ranks.

    Several ranks' parts are summed before the bias is added, which is passed on.
    """

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        alone = self.input_size_per_partition == self.input_size
        self.adds_bias = self.bias is not None and alone and not self.gradient_accumulation_fusion
        self.skip_bias_add = self.skip_bias_add or self.adds_bias

    def _forward_impl(self, input: Tensor, weight: Tensor, *words: Any, **named: Any) -> Tensor:
        if self.gradient_accumulation_fusion:
            return super()._forward_impl(input, weight, *words, **named)
        return _linear(input, weight, **{**named, "bias": self.bias if self.adds_bias else None})

    def forward(self, input_: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output and the bias that is still to be added.

        [s, b, in / tp] -> [s, b, out], or [s / tp, b, out] with sequence parallelism.
        """
        output, bias = super().forward(input_)
        return output, None if self.adds_bias else bias


class ReplicatedLinear(MegatronModule):
    """x W^T, whole on every rank, each for its part of the sequence: [s / tp, b, in] -> [s / tp, b, out].

    The weight is marked for the gradient reduction of sequence parallelism. It accepts the arguments of Transformer
    Engine's TELinear, of which it needs few.
    """

    def __init__(
        self, input_size: int, output_size: int, *, config: TransformerConfig, bias: bool, **_: Any
    ) -> None:
        assert not bias
        super().__init__(config=config)
        self.weight = torch.nn.Parameter(torch.empty(output_size, input_size, dtype=config.params_dtype))
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return the output [s / tp, b, out] of x [s / tp, b, in], and no bias."""
        return _Linear.apply(x, self.weight, None, None, False, False), None


def _linear(
    input: Tensor,
    weight: Tensor,
    *,
    bias: Tensor | None,
    allreduce_dgrad: bool,
    sequence_parallel: bool,
    tp_group: ProcessGroup | None,
    grad_output_buffer: Any = None,
    **_: Any,
) -> Tensor:
    """Return the layer's output; takes the arguments of the function of Megatron-core that it replaces."""
    assert grad_output_buffer is None, "weight gradients are not deferred"
    return _Linear.apply(input, weight, bias, tp_group, sequence_parallel, allreduce_dgrad)


class _Linear(torch.autograd.Function):
    """A product that gathers its input along the sequence (sequence_parallel), or sums its gradient over the ranks."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        group: ProcessGroup | None,
        sequence_parallel: bool,
        sum_gradient: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias, ctx.group = bias is not None, group
        ctx.sequence_parallel, ctx.sum_gradient = sequence_parallel, sum_gradient
        whole = _gather(x, group)[0] if sequence_parallel else x
        return products.linear(whole, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        # each transfer overlaps with a product that does not need it
        whole, transfer = _gather(x, ctx.group, beside=True) if ctx.sequence_parallel else (x, None)
        grad_x = products.linear(gradient, weight.t())
        if transfer is not None:
            transfer.wait()
            part = torch.empty_like(x)
            transfer = torch.distributed.reduce_scatter_tensor(part, grad_x, group=ctx.group, async_op=True)
        elif ctx.sum_gradient:
            part, transfer = grad_x, torch.distributed.all_reduce(grad_x, group=ctx.group, async_op=True)
        else:
            part = grad_x
        rows = gradient.reshape(-1, gradient.shape[-1])
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(weight, rows, whole.reshape(-1, whole.shape[-1]))
        grad_bias = rows.sum(0) if ctx.has_bias else None
        if transfer is not None:
            transfer.wait()
        return part, grad_weight, grad_bias, None, None, None


def _gather(x: Tensor, group: ProcessGroup | None, beside: bool = False) -> tuple[Tensor, Any]:
    """Return [s, ...] gathered from [s / tp, ...] of every rank, and with `beside` a handle to wait for, else None."""
    assert group is not None
    whole = x.new_empty(x.shape[0] * group.size(), *x.shape[1:])
    transfer = torch.distributed.all_gather_into_tensor(whole, x.contiguous(), group=group, async_op=beside)
    return whole, transfer


def _weight_gradient(weight: Any, gradient: Tensor, x: Tensor) -> Tensor:
    """Return gradient^T x, [out, in], or add it to weight.main_grad, if that exists and has the same type.

    In the second case the returned tensor only tells autograd's hooks that the gradient exists: its values mean
    nothing.
    """
    main = getattr(weight, "main_grad", None)
    # FSDP manages its gradients itself; a weight with a second use (zero_out_wgrad) gets autograd's sum
    here = getattr(weight, "grad_added_to_main_grad", None) is not None and not (
        hasattr(weight, "__fsdp_param__") or getattr(weight, "zero_out_wgrad", False)
    )
    if main is None or not here or main.dtype != gradient.dtype:
        return gradient.t().matmul(x)
    if weight.grad_added_to_main_grad:
        torch.addmm(main, gradient.t(), x, out=main)
    else:  # the step's first gradient: the zeros there need not be read
        torch.mm(gradient.t(), x, out=main)
    weight.grad_added_to_main_grad = True
    return torch.empty_like(weight)
