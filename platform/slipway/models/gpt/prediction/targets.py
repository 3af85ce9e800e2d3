"""The targets of multi-token prediction, and its loss. Imports torch."""

import torch
from torch import Tensor

from slipway.models.network import Sums


def of_depths(labels: Tensor, loss_mask: Tensor, starts: Tensor | None, depths: int) -> tuple[Tensor, Tensor]:
    """Return targets, int64, and which of them count, fp32, of the model itself and of each depth: [1 + depths, b, s].

    At depth k a token's target is the one k after its label. It counts if it counts as a label and, if documents are
    kept apart, if the token that it is the label of is in the same document. After a sample's end nothing is known and
    nothing counts.

    labels, loss_mask: of whole samples, [b, s], so that no context-parallel rank must ask others. starts: [b, s], for
    every token the position of its document's first token; None: documents are not kept apart.
    """
    length = labels.shape[1]
    targets, masks = [labels], [loss_mask]
    for depth in range(1, depths + 1):
        known = max(0, length - depth)
        target, mask = torch.zeros_like(labels), torch.zeros_like(loss_mask)
        target[:, :known], mask[:, :known] = labels[:, depth:], loss_mask[:, depth:]
        if starts is not None:
            mask[:, :known] *= (starts[:, depth:] == starts[:, :known]).to(mask.device)
        targets.append(target)
        masks.append(mask)
    return torch.stack(targets), torch.stack(masks)


def loss(masks: Tensor, sums: Tensor, factor: float) -> tuple[Tensor, Tensor, Sums]:
    """Return the loss to minimize, a scalar, the number of tokens that it is divided by, and the sums to report.

    The loss is the sum over the model's own tokens plus the mean of the sums of all depths times `factor`, all divided
    by the number of the model's own tokens: as in DeepSeek-V3, equations 24 and 25, where T is the sequence's length
    and not the number of a depth's targets. A depth's reported loss is the mean over its targets, in nats per token.

    masks: see of_depths. sums: masked sums of cross entropies, [1 + depths].
    """
    counts = masks.sum((1, 2))
    total = sums[0] + factor * sums[1:].mean()
    # clones: the schedules scale the returned loss in place
    pairs = torch.stack([sums.detach().clone(), counts], 1)
    names = ["loss", *map(name_of, range(1, len(sums)))]
    return total, counts[0], dict(zip(names, pairs, strict=True))


def name_of(depth: int) -> str:
    """Return the name of a depth's loss in metrics; depths count from 1."""
    return f"mtp_{depth}_loss"
