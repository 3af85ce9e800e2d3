"""The layers of multi-token prediction, on the last stage of the pipeline next to the output layer.

Megatron-core's own modules for them (multi_token_prediction.py) scale the loss of tokens differently in each version,
take whole logits, and give LayerNorm to models with RMSNorm. This module rebuilds them from their parts, under the
names in Megatron-core's checkpoints.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from megatron.core.models.common.embeddings.language_model_embedding import LanguageModelEmbedding
from megatron.core.tensor_parallel import (
    checkpoint,
    gather_from_tensor_model_parallel_region,
    get_cuda_rng_tracker,
    scatter_to_sequence_parallel_region,
)
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.spec_utils import build_module
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import get_transformer_layer_offset
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.kernels.provider import SpecProvider
from slipway.models.gpt.config import gpt_of
from slipway.models.network import Stage
from slipway.models.transformer import recompute
from slipway.models.transformer.layer_spec import block_submodules

MaskedLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From states [s, b, h], targets [b, s] and mask [b, s] to the masked sum of cross entropies, fp32 scalar."""


class PredictionLayer(MegatronModule):
    """Depth k: it takes the states of depth k - 1 and the embeddings of the tokens that these learnt to predict."""

    def __init__(
        self, config: RunConfig, transformer: TransformerConfig, depth: int, virtual: int | None
    ) -> None:
        super().__init__(config=transformer)
        blocks = gpt_of(config).blocks
        own: Any = block_submodules(config, blocks, range(len(blocks) - 1, len(blocks)))
        again = recompute.modules(config, blocks)
        self.again = recompute.LAYER in again
        of_norm: dict[str, Any] = dict(
            config=transformer, hidden_size=transformer.hidden_size, eps=transformer.layernorm_epsilon
        )
        self.enorm, self.hnorm = own.layer_norm(**of_norm), own.layer_norm(**of_norm)
        linear: Any = SpecProvider(config.kernels, again).column_parallel_linear()
        self.eh_proj = linear(
            2 * transformer.hidden_size,
            transformer.hidden_size,
            config=transformer,
            init_method=transformer.init_method,
            gather_output=False,
            bias=False,
            skip_bias_add=False,
            is_expert=False,
        )
        behind = transformer.num_layers - get_transformer_layer_offset(transformer, virtual)
        self.transformer_layer: Any = build_module(
            own.layer_specs[0], config=transformer, layer_number=behind + depth, vp_stage=virtual
        )
        self.final_layernorm = own.layer_norm(**of_norm)

    @property
    def mtp_model_layer(self) -> Any:
        """The name of transformer_layer in the schedules of Megatron-core 0.19."""
        return self.transformer_layer

    def forward(self, states: Tensor, embedded: Tensor, spans: Tensor | None, *rotary: Any) -> Tensor:
        """Return the states of this depth, normalized for the output layer, [s, b, h] or a rank's part of s.

        states: those of the depth before, in the same shape. embedded: of the tokens after theirs. spans, rotary: as
        the decoder's layers take them.
        """
        if self.again and self.training:
            return checkpoint(self._predict, False, states, embedded, spans, *rotary)
        return self._predict(states, embedded, spans, *rotary)

    def _predict(self, states: Tensor, embedded: Tensor, spans: Tensor | None, *rotary: Any) -> Tensor:
        parallel, tracker = self.config.sequence_parallel, get_cuda_rng_tracker()
        assert tracker is not None
        with tracker.fork() if parallel else nullcontext():
            joined = torch.cat((self.enorm(embedded), self.hnorm(states)), -1)
            projected = gather_from_tensor_model_parallel_region(self.eh_proj(joined)[0])
            if parallel:
                # a view would keep all ranks' parts until the backward pass
                projected = scatter_to_sequence_parallel_region(projected).clone()
            frequencies, cosines, sines = rotary
            states, _ = self.transformer_layer(
                hidden_states=projected,
                attention_mask=spans,
                rotary_pos_emb=frequencies,
                rotary_pos_cos=cosines,
                rotary_pos_sin=sines,
            )
        return self.final_layernorm(states)


class Prediction(MegatronModule):
    """All depths, one after another."""

    def __init__(self, config: RunConfig, transformer: TransformerConfig, virtual: int | None) -> None:
        super().__init__(config=transformer)
        depths = range(1, gpt_of(config).prediction_depths + 1)
        self.layers = torch.nn.ModuleList(
            [PredictionLayer(config, transformer, depth, virtual) for depth in depths]
        )

    def sharded_state_dict(self, prefix: str = "", *words: Any, **named: Any) -> dict[str, Any]:
        """Return the state layer by layer: Megatron-core takes modules in a list for whole on every rank."""
        state: dict[str, Any] = {}
        for number, layer in enumerate(self.layers):
            own: Any = layer
            state |= own.sharded_state_dict(f"{prefix}layers.{number}.", *words, **named)
        return state

    def forward(
        self,
        states: Tensor,
        labels: Tensor,
        masks: Tensor,
        embedding: Callable[..., Tensor],
        masked_loss: MaskedLoss,
        spans: Tensor | None,
        rotary: Sequence[Any],
    ) -> Tensor:
        """Return masked sums of the model's own losses and of those of each depth, fp32 [1 + depths].

        states: the decoder's, [s, b, h]. labels, masks: from slipway.models.gpt.prediction.targets, this rank's part.
        """
        sums = [masked_loss(states, labels[0], masks[0])]
        for layer, tokens, targets, mask in zip(self.layers, labels[:-1], labels[1:], masks[1:], strict=True):
            embedded = embedding(input_ids=tokens, position_ids=None)
            states = layer(states, embedded, spans, *rotary)
            sums.append(masked_loss(states, targets, mask))
        return torch.stack(sums)


def add(module: Any, config: RunConfig, transformer: TransformerConfig, stage: Stage) -> None:
    """Add to a stage what prediction needs: on the last one its layers and, if it has no embedding, a copy of it.

    The copy is a parameter like the embedding on the first stage; finalize_model_grads, which reads the configuration
    of every stage, sums the gradients of both. If the output layer is tied to the embedding, its weight is the copy.
    """
    transformer.mtp_num_layers = gpt_of(config).prediction_depths
    virtual = stage.chunk if stage.chunks > 1 else None
    if stage.last:
        module.mtp = Prediction(config, transformer, virtual)
    if stage.first and not stage.last:
        module.embedding.word_embeddings.weight.shared_embedding = True
    if stage.last and not stage.first:
        module.embedding = LanguageModelEmbedding(
            config=transformer,
            vocab_size=module.vocab_size,
            max_sequence_length=module.max_sequence_length,
            position_embedding_type=module.position_embedding_type,
        )
        table = module.embedding.word_embeddings
        if module.share_embeddings_and_output_weights:
            table.weight = module.output_layer.weight
            table.weight.zero_out_wgrad = True  # one of its two uses adds to the other's gradient
        weight: Any = table.weight
        weight.is_embedding_or_output_parameter = True
        weight.shared = True  # the first stage counts it in the gradient's norm
        weight.shared_embedding = True
