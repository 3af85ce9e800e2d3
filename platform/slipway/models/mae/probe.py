"""A linear probe for segmentation: one linear layer on frozen features of patches, and how well it labels pixels.

As He et al. 2022 (section 4.3 and appendix A) probe classifiers: features are standardized without affine parameters,
and nothing else is learned. Logits of patches are interpolated to pixels bilinearly, as in terratorch's segmentation
heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS, BATCH, RATE, DECAY = (
    300,
    32,
    0.01,
    1e-4,
)  # of Adam, whose rate decays to 0 by a cosine; its weight decay
EPSILON = 1e-6  # added to the variance of a feature


class Probe:
    """A fitted linear layer on standardized features."""

    def __init__(self, features: Tensor, labels: Tensor, classes: int, seed: int) -> None:
        """Fit it to features [n, rows, columns, values] and labels [n, height, width] int64.

        The seed orders the samples.

        The loss is the cross entropy of all pixels. Weights start at zero.
        """
        self.mean = features.mean((0, 1, 2))
        self.deviation = (features.var((0, 1, 2), correction=0) + EPSILON).sqrt()
        self.weight = torch.zeros(classes, features.shape[-1], device=features.device, requires_grad=True)
        self.bias = torch.zeros(classes, device=features.device, requires_grad=True)
        order = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.AdamW(
            [{"params": [self.weight], "weight_decay": DECAY}, {"params": [self.bias], "weight_decay": 0.0}],
            lr=RATE,
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        with torch.enable_grad():
            for _ in range(STEPS):
                chosen = torch.randperm(len(features), generator=order)[:BATCH].to(features.device)
                loss = F.cross_entropy(self.logits(features[chosen], labels.shape[1:]), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    def logits(self, features: Tensor, size: torch.Size) -> Tensor:
        """Return logits [n, classes, height, width] of features [n, rows, columns, values]."""
        coarse = F.linear((features - self.mean) / self.deviation, self.weight, self.bias)
        return F.interpolate(coarse.movedim(-1, 1), size=tuple(size), mode="bilinear", align_corners=False)

    @torch.no_grad()
    def confusion(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return pixels by true class (rows) and predicted class (columns): int64 [classes, classes], on the CPU."""
        classes = len(self.bias)
        found = torch.zeros(classes, classes, dtype=torch.int64)
        for few, of_few in zip(features.split(BATCH), labels.split(BATCH), strict=True):
            predicted = self.logits(few, labels.shape[1:]).argmax(1)
            pairs = (of_few * classes + predicted).flatten()
            found += pairs.bincount(minlength=classes**2).view(classes, classes).cpu()
        return found


def ious(confusion: Tensor) -> list[float | None]:
    """Return each class's intersection over union, by a confusion matrix [classes, classes]; None: it is nowhere."""
    both = confusion.diagonal()
    either = confusion.sum(0) + confusion.sum(1) - both
    return [b / e if e else None for b, e in zip(both.tolist(), either.tolist(), strict=True)]


def mean_iou(confusion: Tensor) -> float:
    """Return the mean intersection over union in a confusion matrix [classes, classes], without absent classes."""
    there = [one for one in ious(confusion) if one is not None]
    return sum(there) / len(there)


def accuracy(confusion: Tensor) -> float:
    """Return the share of correctly labelled pixels in a confusion matrix [classes, classes]."""
    return (confusion.diagonal().sum() / confusion.sum()).item()
