"""Cross entropy fused with the output layer over tensor-parallel ranks: the logits are never held whole.

The tokens go through the output layer in chunks. What is known of the backward pass is used at once, as in Liger Kernel
(Hsu et al. 2024, arXiv 2410.10989, section 3.2): the loss is a masked sum, so each token's gradient is its mask times
one number that arrives later. The gradients of hidden states and weight are therefore computed right after a chunk's
logits, whose memory the next chunk's then takes; the backward pass only multiplies by that number. Cut Cross-Entropy
(Wijmans et al. 2024, arXiv 2411.09009) and the textbook form recompute the logits in the backward pass instead. That
takes a fourth matrix product: on two CPU cores with 1,024 tokens of size 384 and a vocabulary of 8,192 (fp32) forward
and backward took 203 ms against 131 ms here, 146 ms in Megatron-core's unfused form and 181 ms in torch's own
(medians). It would save no memory either: in both cases the weight's gradient first exists while every layer still
holds its activations.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup, ReduceOp

from slipway.kernels import products
from slipway.kernels.sizes import LOSS_CHUNK


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    loss_mask: Tensor,
    *,
    group: ProcessGroup,
    sequence_parallel: bool,
    vocab_size: int | None = None,
    chunk_tokens: int | None = None,
) -> Tensor:
    """Return the sum over tokens of loss_mask x cross entropy (nats) of softmax(hidden weight^T), fp32 scalar.

    hidden: [s, b, h], with sequence_parallel [s / tp, b, h]; weight: [v / tp, h], this rank's rows of the vocabulary;
    both in bf16 or both in fp32; the softmax is in fp32. labels: [b, s] int64, loss_mask: [b, s]. group: the
    tensor-parallel ranks; all of them call this, with the same tokens, and get the same sum. vocab_size: rows, over all
    ranks, from here on are padding, which the softmax excludes; None: no padding. chunk_tokens: at most this many
    tokens' logits are held at a time. Labels and mask get no gradient.
    """
    assert hidden.dtype == weight.dtype, f"hidden states are {hidden.dtype}, the weight is {weight.dtype}"
    assert not loss_mask.requires_grad
    chunk = chunk_tokens or LOSS_CHUNK[hidden.device.type]
    by_token = (labels.t().reshape(-1), loss_mask.t().reshape(-1).float())  # [s b], as hidden is
    needs = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    entries = vocab_size or weight.shape[0] * group.size()
    return _LinearCrossEntropy.apply(
        hidden, weight, *by_token, group, sequence_parallel, entries, chunk, needs
    )


def hide_padding(logits: Tensor, vocab_size: int, first: int) -> None:
    """Set the logits of padding rows to the lowest number, in place, on the ranks that have such rows.

    logits: [..., n], of n rows of the table from `first` on. A softmax over all rows turns them into exact zeros, and
    so does its backward pass: autograd is not told. The lowest number is used instead of infinity, from which a rank
    with only padding rows would compute NaN.
    """
    own = max(vocab_size - first, 0)
    if own < logits.shape[-1]:
        logits.detach()[..., own:] = torch.finfo(logits.dtype).min


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        mask: Tensor,
        group: ProcessGroup,
        sequence_parallel: bool,
        entries: int,
        chunk: int,
        needs_gradients: bool,
    ) -> Tensor:
        shape = hidden.shape
        if sequence_parallel and group.size() > 1:
            whole = hidden.new_empty(shape[0] * group.size(), *shape[1:])
            torch.distributed.all_gather_into_tensor(whole, hidden.contiguous(), group=group)
            hidden = whole
        rows = hidden.reshape(-1, shape[-1])  # [s b, h]
        assert len(rows) == len(labels), f"{len(rows)} hidden states, {len(labels)} labels"
        total, grad_rows, grad_weight = _by_chunks(
            rows, weight, labels, mask, group, entries, chunk, needs_gradients
        )
        if grad_rows is not None and group.size() > 1:  # each rank has its vocabulary rows' part of the sum
            if sequence_parallel:
                part = grad_rows.new_empty(len(grad_rows) // group.size(), shape[-1])
                torch.distributed.reduce_scatter_tensor(part, grad_rows, group=group)
                grad_rows = part
            else:
                torch.distributed.all_reduce(grad_rows, group=group)
        ctx.gradients = None if grad_rows is None else (grad_rows.view(shape), grad_weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> Any:
        assert ctx.gradients is not None, "the gradients are there for one backward pass"
        grad_hidden, grad_weight = ctx.gradients
        ctx.gradients = None  # drops the only other references, so that no copies are made
        return grad_hidden.mul_(grad_total), grad_weight.mul_(grad_total), *[None] * 7


def _by_chunks(
    rows: Tensor,
    weight: Tensor,
    labels: Tensor,
    mask: Tensor,
    group: ProcessGroup,
    entries: int,
    chunk: int,
    needs_gradients: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the masked sum of losses, and its gradients: of the rows (this rank's part of a sum) and of the weight."""
    count = -(-len(rows) // chunk)
    size = -(-len(rows) // count)  # chunks of equal size, except the last
    total = torch.zeros((), dtype=torch.float32, device=rows.device)
    grad_rows = grad_weight = None
    if needs_gradients:
        grad_rows = torch.empty_like(rows)
        # one product is exact enough in bf16, a sum of several is not
        grad_weight = torch.empty_like(weight, dtype=weight.dtype if count == 1 else torch.float32)
    for start in range(0, len(rows), size):
        here = slice(start, start + size)
        x = rows[here]
        logits = products.linear(x, weight)
        hide_padding(logits, entries, group.rank() * len(weight))
        losses, gradient = _losses_and_gradient(logits, labels[here], mask[here], group, needs_gradients)
        total += torch.dot(losses, mask[here])
        if grad_rows is not None and grad_weight is not None:
            torch.mm(gradient, weight, out=grad_rows[here])
            if grad_weight.dtype == x.dtype:
                torch.addmm(
                    grad_weight, gradient.t(), x, beta=float(start > 0), out=grad_weight
                )  # 0: overwrite
            elif start == 0:
                grad_weight.copy_(gradient.t() @ x)
            else:
                grad_weight += gradient.t() @ x
        del logits, gradient  # the next chunk's logits take its place
    return total, grad_rows, None if grad_weight is None else grad_weight.to(weight.dtype)


def _losses_and_gradient(
    logits: Tensor, labels: Tensor, mask: Tensor, group: ProcessGroup, needs_gradient: bool
) -> tuple[Tensor, Tensor]:
    """Return losses [c] fp32, and mask x (softmax - one-hot), which overwrites the logits [c, v / tp].

    The vocabulary's maximum, sum of exponentials and target logit are reduced over the ranks, as in Megatron-LM
    (Shoeybi et al. 2019, arXiv 1909.08053, section 3).
    """
    parallel = group.size() > 1
    values = logits.float()  # logits itself if it is fp32
    highest = values.amax(-1)
    if parallel:
        torch.distributed.all_reduce(highest, ReduceOp.MAX, group=group)
    own = labels - group.rank() * logits.shape[1]  # a row of this rank's weight, or outside
    is_own = (own >= 0) & (own < logits.shape[1])
    own = own.where(is_own, 0)[:, None]
    target = (values.gather(1, own)[:, 0] - highest) * is_own
    values.sub_(highest[:, None]).exp_()
    sums = torch.stack([values.sum(-1), target])
    if parallel:
        torch.distributed.all_reduce(sums, group=group)
    exponentials, target = sums
    if needs_gradient:
        values.mul_((mask / exponentials)[:, None])
        values.scatter_add_(1, own, -(mask * is_own)[:, None])
        logits.copy_(values)  # rounds to bf16; nothing to do in fp32
    return exponentials.log() - target, logits
