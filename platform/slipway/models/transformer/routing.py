"""The router of a mixture layer, which counts what it does.

Counted is what the experts compute: every position of every sample, those whose loss is masked, too. Validation is
not counted, and neither is the first of two passes where the layer is recomputed: it runs without gradients.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.transformer.moe.router import TopKRouter
from torch import Tensor

SUMS = 2
"""Numbers that are counted besides the tokens of each expert: see CountingRouter."""

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": partial(torch.softmax, dim=-1),
    "sigmoid": torch.sigmoid,
    "sqrtsoftplus": lambda logits: F.softplus(logits).sqrt(),
}
"""moe_router_score_function, in fp32."""


class CountingRouter(TopKRouter):
    """Megatron-core's. `counts` (fp64 [experts + SUMS], None: nothing yet) is since it was last taken.

    The tokens of each expert; the sum over tokens of the entropy (nats) of the router's distribution over all
    experts, its scores divided by their sum; the number of tokens.
    """

    counts: Tensor | None = None

    def routing(self, logits: Tensor, *words: Any, **named: Any) -> Any:
        """Return [tokens, samples, experts] -> weights and choice [tokens x samples, experts], as Megatron-core's."""
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
        """Return the counts, which begin anew; None: nothing was counted."""
        counts, self.counts = self.counts, None
        return counts
