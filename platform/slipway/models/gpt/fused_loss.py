"""A GPTModel whose last stage gives the loss's sum, computed together with the output layer."""

from typing import Any

from megatron.core.models.gpt import GPTModel
from megatron.core.tensor_parallel import ColumnParallelLinear
from torch import Tensor
from torch.distributed import ProcessGroup

from slipway.kernels.cross_entropy import linear_cross_entropy


class OutputLayer(ColumnParallelLinear):
    """Megatron-core's output layer; given labels, it gives the loss and not the logits."""

    def forward(
        self, input_: Tensor, *words: Any, labels: Tensor | None = None, loss_mask: Any = None, **named: Any
    ) -> Any:
        """With labels and loss_mask ([b, s]): the masked sum of cross entropies, fp32 scalar."""
        if labels is None:
            return super().forward(input_, *words, **named)
        shared, group = named.get("weight"), self.tp_group  # shared with the embedding
        weight: Any = self.weight if shared is None else shared
        assert isinstance(group, ProcessGroup)
        return linear_cross_entropy(
            input_,
            weight,
            labels,
            loss_mask,
            group=group,
            sequence_parallel=self.sequence_parallel,
        )


class FusedLossGPT(GPTModel):
    """Its last stage takes labels and loss_mask, and returns the masked sum of losses; no labels: logits."""

    def setup_embeddings_and_output_layer(self) -> None:
        """The output layer is there by now, its weight's attributes not yet."""
        assert not self.mtp_process and not self.config.mtp_num_layers, "no multi-token prediction"
        assert not getattr(self.config, "use_mup", False), "no scaled logits"
        assert not self.config.defer_embedding_wgrad_compute
        if self.post_process:
            # the loss is asked of the layer, not computed beside it: hooks on its forward pass gather its weight
            self.output_layer.__class__ = OutputLayer
        super().setup_embeddings_and_output_layer()

    def _postprocess(self, hidden_states: Tensor, **named: Any) -> Tensor:
        """Megatron-core's, but for the loss; private there, and the same in all versions supported."""
        labels, loss_mask = named["labels"], named["loss_mask"]
        if labels is None or not self.post_process:
            return super()._postprocess(hidden_states, **named)
        assert loss_mask is not None and named["inference_context"] is None
        shared = (
            self.shared_embedding_or_output_weight() if self.share_embeddings_and_output_weights else None
        )
        return self.output_layer(hidden_states, weight=shared, labels=labels, loss_mask=loss_mask)
