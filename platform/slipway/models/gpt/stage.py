"""A stage of the GPT family as Megatron-core's GPTModel: the only module that knows this class and its layer specs.

Megatron-core 0.19 announces that GPTModel gives way to HybridModel; docs/megatron.md says what that changes here.
"""

import logging
from collections.abc import Collection
from typing import Any

from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_mlp_module_spec_for_backend
from megatron.core.tensor_parallel import ColumnParallelLinear
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules
from torch import Tensor
from torch.distributed import ProcessGroup

from slipway.config.schema import Kernels, RunConfig
from slipway.kernels.cross_entropy import linear_cross_entropy
from slipway.kernels.provider import SpecProvider
from slipway.kernels.recompute import recomputed_mlp
from slipway.models.gpt import recompute
from slipway.models.gpt.config import gpt_of
from slipway.models.network import Stage


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a word of GPTModel's is for people: not that it is deprecated, which this project answers for them."""
    return "GPTModel IS DEPRECATED" not in record.getMessage()


logging.getLogger(GPTModel.__module__).addFilter(_is_news)  # 0.19 says so at each build, on every rank


def build_stage(config: RunConfig, transformer: TransformerConfig, layers: int, stage: Stage) -> GPTModel:
    """Build a stage of so many transformer layers, the first one with the embedding, the last one with the head."""
    model = gpt_of(config)
    layer, norm = layer_spec(transformer, config.kernels, recompute.modules(config))
    virtual = stage.chunk if stage.chunks > 1 else None
    assert layers == get_num_layers_to_build(transformer, vp_stage=virtual), (layers, stage)
    # cross entropy by torch computes the output layer too, the others take whole logits
    fused = config.kernels.cross_entropy in (None, "torch")
    return (FusedLossGPT if fused else GPTModel)(
        config=transformer,
        transformer_layer_spec=TransformerBlockSubmodules(layer_specs=[layer] * layers, layer_norm=norm),  # type: ignore[arg-type]
        vocab_size=model.padded_vocab_size,
        max_sequence_length=model.max_position_embeddings,
        pre_process=stage.first,
        post_process=stage.last,
        share_embeddings_and_output_weights=not model.untie_embeddings_and_output_weights,
        position_embedding_type=model.position_embedding_type,
        rotary_base=model.rotary_base,
        rope_scaling=model.rope_scaling_factor is not None,
        rope_scaling_factor=model.rope_scaling_factor or 1.0,
        vp_stage=virtual,
    )


def layer_spec(
    transformer: TransformerConfig, kernels: Kernels, recomputed: Collection[str] = ()
) -> tuple[ModuleSpec, type]:
    """The transformer layer, and the final norm, from the chosen kernels.

    recomputed: modules that the backward pass computes again (see slipway.models.gpt.recompute).
    """
    provider = SpecProvider(kernels, recomputed)
    bias_dropout_add: Any = get_bias_dropout_add  # a function, where the annotation asks for a type
    norm = provider.layer_norm(rms_norm=transformer.normalization == "RMSNorm")
    layer = ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=norm,
            self_attention=ModuleSpec(
                module=SelfAttention,
                params={"attn_mask_type": AttnMaskType.causal},
                submodules=SelfAttentionSubmodules(
                    linear_qkv=provider.column_parallel_linear(),
                    core_attention=provider.core_attention(),
                    linear_proj=provider.row_parallel_linear(),
                    q_layernorm=IdentityOp,
                    k_layernorm=IdentityOp,
                ),
            ),
            self_attn_bda=bias_dropout_add,
            pre_mlp_layernorm=norm,
            mlp=_feed_forward(provider, transformer, recomputed),
            mlp_bda=bias_dropout_add,
        ),
    )
    return layer, norm


def _feed_forward(provider: SpecProvider, transformer: TransformerConfig, recomputed: Collection[str]) -> Any:
    """Megatron-core's MLP or mixture of experts, or the MLP that keeps less."""
    spec: Any = mlp_spec(provider, transformer.num_moe_experts, provider.kernels.moe == "te")
    if transformer.num_moe_experts or not {"activation", "mlp"} & set(recomputed):
        return spec
    parts: Any = spec.submodules if isinstance(spec, ModuleSpec) else spec.keywords["submodules"]
    return recomputed_mlp(parts, product="mlp" in recomputed)


def mlp_spec(provider: SpecProvider, num_experts: int | None, grouped: bool) -> ModuleSpec:
    """Return a layer's MLP, or its experts; grouped: multiplied together by Transformer Engine."""
    return get_mlp_module_spec_for_backend(provider, num_experts=num_experts, moe_grouped_gemm=grouped)


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
