"""A stage of the GPT family as Megatron-core's GPTModel: the only module that knows this class.

Megatron-core 0.19 announces that HybridModel replaces GPTModel; docs/megatron.md says what that changes here.
"""

import logging
from dataclasses import replace
from typing import Any

import torch
from megatron.core.models.gpt import GPTModel
from megatron.core.parallel_state import get_data_parallel_rank
from megatron.core.tensor_parallel import ColumnParallelLinear
from megatron.core.transformer.transformer_block import get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.distributed import ProcessGroup

from slipway.config.schema import RunConfig
from slipway.kernels.cross_entropy import hide_padding, linear_cross_entropy
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.prediction import layer as prediction
from slipway.models.gpt.rotary import stretch
from slipway.models.network import Stage
from slipway.models.transformer.layer_spec import block_submodules


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a log record of GPTModel should be shown: all but its deprecation, which this project handles."""
    return "GPTModel IS DEPRECATED" not in record.getMessage()


logging.getLogger(GPTModel.__module__).addFilter(_is_news)  # 0.19 warns at each build, on every rank


def build_stage(config: RunConfig, transformer: TransformerConfig, layers: range, stage: Stage) -> GPTModel:
    """Return a stage of these transformer layers; the first one has the embedding, the last one the head."""
    model = gpt_of(config)
    virtual = stage.chunk if stage.chunks > 1 else None
    assert len(layers) == get_num_layers_to_build(transformer, vp_stage=virtual), (layers, stage)
    # cross entropy by torch computes the output layer as well, the others take whole logits
    fused = config.kernels.cross_entropy in (None, "torch")
    module = (FusedLossGPT if fused else WholeLogitsGPT)(
        config=transformer,
        transformer_layer_spec=block_submodules(config, model.blocks, layers),  # type: ignore[arg-type]
        vocab_size=model.padded_vocab_size,
        max_sequence_length=model.max_position_embeddings,
        pre_process=stage.first,
        post_process=stage.last,
        share_embeddings_and_output_weights=not model.untie_embeddings_and_output_weights,
        position_embedding_type=model.position_embedding_type,
        rotary_base=model.rotary_base,  # type: ignore[arg-type]  # Starcoder2 has a fraction
        vp_stage=virtual,
    )
    if model.rope_scaling is not None and not model.latent:  # latent attention rotates channels itself
        stretch(module.rotary_pos_emb, model.rope_scaling, model.rotary_base)
    if stage.last:
        output: Any = module.output_layer
        output.entries = model.vocab_size
    if model.prediction_depths:
        prediction.add(module, config, transformer, stage)
    return module


class OutputLayer(ColumnParallelLinear):
    """Megatron-core's output layer without padding in its logits; given labels, it returns the loss instead."""

    entries: int
    """Entries of the vocabulary; later rows, over all ranks, are padding."""

    def forward(
        self, input_: Tensor, *words: Any, labels: Tensor | None = None, loss_mask: Any = None, **named: Any
    ) -> Any:
        """Return the logits and the bias, or with labels and loss_mask ([b, s]) the masked sum of cross entropies.

        The sum is an fp32 scalar.
        """
        if labels is None:
            logits, bias = super().forward(input_, *words, **named)
            whole = logits.shape[-1] == self.output_size  # one rank, or gathered, as generation wants them
            group: Any = self.tp_group
            rank = 0 if whole else group.rank()
            hide_padding(logits, self.entries, rank * logits.shape[-1])
            return logits, bias
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
            vocab_size=self.entries,
        )


class WholeLogitsGPT(GPTModel):
    """A GPTModel whose last stage, given labels, returns Megatron-core's losses of whole logits, [b, s].

    Without labels it returns logits. With multi-token prediction it takes labels and loss_mask of all depths, [1 +
    depths, b, s], and returns the masked sums of losses, [1 + depths]; logits are the model's own.
    """

    def setup_embeddings_and_output_layer(self) -> None:
        """Make the output layer an OutputLayer before Megatron-core sets the attributes of its weight."""
        assert not self.mtp_process, "its own block of multi-token prediction is not used"
        assert not getattr(self.config, "use_mup", False), "no scaled logits"
        assert not self.config.defer_embedding_wgrad_compute
        if self.post_process:
            # the layer itself computes the loss: hooks on its forward pass gather its weight
            self.output_layer.__class__ = OutputLayer
        super().setup_embeddings_and_output_layer()

    def shared_embedding_or_output_weight(self) -> Any:
        """Return the embedding, or on the last stage its copy, if there is one."""
        if self._predicts and not self.pre_process:
            return self.embedding.word_embeddings.weight
        return super().shared_embedding_or_output_weight()

    def sharded_state_dict(self, prefix: str = "", *words: Any, **named: Any) -> dict[str, Any]:
        """Return Megatron-core's state, in which the last stage's copy of the embedding is a replica of the first's."""
        state = super().sharded_state_dict(prefix, *words, **named)
        if self._predicts and not self.pre_process:
            key = f"{prefix}embedding.word_embeddings.weight"
            replica = (1, 0, get_data_parallel_rank(with_context_parallel=True))
            own = replace(state.pop(key), replica_id=replica)
            if not self.share_embeddings_and_output_weights:  # else it is there as the output layer's weight
                state[key] = own
        return state

    def masked_loss(self, states: Tensor, labels: Tensor, loss_mask: Tensor) -> Tensor:
        """Return the masked sum of the cross entropies of states [s, b, h], a scalar; labels, loss_mask: [b, s]."""
        logits, _ = self.output_layer(states, weight=self._tied())
        return torch.sum(self.compute_language_model_loss(labels, logits).float() * loss_mask)

    @property
    def _predicts(self) -> bool:
        return hasattr(self, "mtp")

    def _tied(self) -> Any:
        return self.shared_embedding_or_output_weight() if self.share_embeddings_and_output_weights else None

    def _postprocess(self, hidden_states: Tensor, **named: Any) -> Tensor:
        """Return Megatron-core's result except for prediction.

        It is private there, but equal in all supported versions.
        """
        labels = named["labels"]
        if not self._predicts:
            return super()._postprocess(hidden_states, **named)
        if labels is None:
            depths, self.config.mtp_num_layers = (
                self.config.mtp_num_layers,
                None,
            )  # otherwise it would compute their losses
            try:
                return super()._postprocess(hidden_states, **named)
            finally:
                self.config.mtp_num_layers = depths
        rotary = [named[f"rotary_pos_{name}"] for name in ("emb", "cos", "sin")]
        return self.mtp(
            hidden_states,
            labels,
            named["loss_mask"],
            self.embedding,
            self.masked_loss,
            named["attention_mask"],
            rotary,
        )


class FusedLossGPT(WholeLogitsGPT):
    """A GPTModel whose last stage, given labels and loss_mask, returns the masked sum of losses; otherwise logits."""

    def masked_loss(self, states: Tensor, labels: Tensor, loss_mask: Tensor) -> Tensor:
        """Return the sum of WholeLogitsGPT.masked_loss, in the same shapes, without whole logits."""
        return self.output_layer(states, weight=self._tied(), labels=labels, loss_mask=loss_mask)

    def _postprocess(self, hidden_states: Tensor, **named: Any) -> Tensor:
        """Return Megatron-core's result except for the loss."""
        labels, loss_mask = named["labels"], named["loss_mask"]
        if labels is None or not self.post_process or self._predicts:
            return super()._postprocess(hidden_states, **named)
        assert loss_mask is not None and named["inference_context"] is None
        return self.masked_loss(hidden_states, labels, loss_mask)
