"""The router of a mixture layer, with counters.

It counts what the experts compute: every position of every sample, also those whose loss is masked. Validation is not
counted, nor is the first of two passes if the layer is recomputed: it runs without gradients.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.transformer.moe.router import TopKRouter
from torch import Tensor

SUMS = 2
"""The number of sums that are counted besides the tokens of each expert: see CountingRouter."""

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=-1),
    "sigmoid": torch.sigmoid,
    "sqrtsoftplus": lambda logits: F.softplus(logits).sqrt(),
}
"""The functions of moe_router_score_function, in fp32."""


class CountingRouter(TopKRouter):
    """Megatron-core's router; `counts` (fp64 [experts + SUMS], None: nothing yet) starts anew when it is taken.

    It holds the tokens of each expert; the sum over tokens of the entropy (nats) of the router's distribution over all
    experts, which is its scores divided by their sum; the number of tokens.
    """

    counts: Tensor | None = None

    def routing(self, logits: Tensor, *words: Any, **named: Any) -> Any:
        """Return Megatron-core's weights and choice for logits [tokens, samples, experts].

        Both are [tokens x samples, experts].
        """
        weights, choice = super().routing(logits, *words, **named)
        if self.training and torch.is_grad_enabled():
            self._count(logits, choice)
        return weights, choice

    @torch.no_grad()
    def _count(self, logits: Tensor, choice: Tensor) -> None:
        flat = logits.detach().reshape(-1, logits.shape[-1])
        if self.counts is None:
            self.counts = flat.new_zeros(flat.shape[1] + SUMS, dtype=torch.float64)
        scores = SCORES[self.score_function](flat.float())
        shares = scores / scores.sum(-1, keepdim=True)
        self.counts[:-SUMS] += choice.sum(0)
        self.counts[-2] += torch.special.entr(shares).sum(dtype=torch.float64)
        self.counts[-1] += len(flat)

    def take(self) -> Tensor | None:
        """Return the counts, fp64 [experts + SUMS], and start anew; None: nothing was counted."""
        counts, self.counts = self.counts, None
        return counts
