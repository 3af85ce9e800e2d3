"""The GPT family's torch side: stages of Megatron-core's GPTModel, their batches, loss and initial weights."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import package_info, parallel_state
from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_mlp_module_spec_for_backend
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules
from torch import Tensor

from slipway.config.schema import Kernels, Parallelism, RunConfig
from slipway.data.text.config import text_of
from slipway.kernels import rotary
from slipway.kernels.provider import SpecProvider
from slipway.kernels.spans import local_positions, spans_of_samples
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.fused_loss import FusedLossGPT

Batch = dict[str, Tensor]


def transformer_config(config: RunConfig) -> TransformerConfig:
    """Megatron-core's configuration of the model and its layout."""
    model, layout, training, kernels = gpt_of(config), config.parallelism, config.training, config.kernels
    dtype = torch.bfloat16 if training.precision == "bf16" else torch.float32
    moe: dict[str, Any] = {}
    if model.num_moe_experts:
        moe = dict(
            num_moe_experts=model.num_moe_experts,
            moe_router_topk=model.moe_router_topk,
            moe_router_load_balancing_type="aux_loss",
            moe_aux_loss_coeff=model.moe_aux_loss_coeff * _parts_of_balance(layout),
            moe_token_dispatcher_type="allgather",
            moe_grouped_gemm=config.kernels.moe == "te",
        )
    recompute: dict[str, Any] = {}
    if training.recompute == "full":
        recompute = dict(recompute_granularity="full", recompute_method="uniform", recompute_num_layers=1)
    elif training.recompute == "selective":
        recompute = dict(recompute_granularity="selective", recompute_modules=["core_attn"])
    fp8: dict[str, Any] = {}
    if training.fp8:
        fp8 = dict(fp8=training.fp8, fp8_recipe=training.fp8_recipe)
    # Megatron-core's small functions are compiled by torch; on a CPU the compiler's start costs more than it gains
    compiled = kernels.linear != "unfused" and torch.cuda.is_available()
    rotary.use(kernels.rotary or "torch")
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        num_attention_heads=model.num_attention_heads,
        num_query_groups=model.query_groups,
        kv_channels=model.head_size,
        ffn_hidden_size=model.mlp_size,
        normalization=model.normalization,
        layernorm_epsilon=model.norm_epsilon,
        activation_func=F.silu if model.activation == "swiglu" else F.gelu,
        gated_linear_unit=model.activation == "swiglu",
        add_bias_linear=model.add_bias_linear,
        hidden_dropout=model.hidden_dropout,
        attention_dropout=model.attention_dropout,
        init_method_std=model.init_method_std,
        tensor_model_parallel_size=layout.tensor_model_parallel_size,
        pipeline_model_parallel_size=layout.pipeline_model_parallel_size,
        virtual_pipeline_model_parallel_size=layout.virtual_stages if layout.virtual_stages > 1 else None,
        context_parallel_size=layout.context_parallel_size,
        expert_model_parallel_size=layout.expert_model_parallel_size,
        sequence_parallel=layout.sequence_parallel,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=training.precision == "bf16",
        # weights come from slipway.engine.megatron.weights: the same for every layout
        perform_initialization=False,
        use_cpu_initialization=True,
        # the gradient is the sum over tokens divided once by their number: the same for every layout
        calculate_per_token_loss=True,
        # batched P2P with interleaved stages gives silently wrong gradients
        batch_p2p_comm=False,
        deallocate_pipeline_outputs=True,  # what has been sent to the next stage
        gradient_accumulation_fusion=kernels.grad_accumulation == "apex",
        masked_softmax_fusion=False,
        # Megatron-core's fused GELU is the approximation by tanh: the same model must not depend on the kernels
        bias_activation_fusion=compiled and model.activation == "swiglu",
        bias_dropout_fusion=compiled,
        apply_rope_fusion=kernels.rotary in ("te", "torch"),
        cross_entropy_loss_fusion=kernels.cross_entropy == "te",
        cross_entropy_fusion_impl="te",
        persist_layer_norm=False,
        **recompute,
        **moe,
        **fp8,
    )


def _parts_of_balance(layout: Parallelism) -> int:
    """By how much Megatron-core's load-balancing loss is too small on this layout.

    Each of the tensor- and context-parallel ranks that share a sequence adds its part of the loss's gradient,
    multiplied by the number of tokens, by which finalize_model_grads divides. 0.16 takes the tokens of one rank for
    those of all; 0.19 is right.
    """
    if package_info.MAJOR > 0 or package_info.MINOR >= 19:
        return 1
    return layout.tensor_model_parallel_size * layout.context_parallel_size


def layer_spec(transformer: TransformerConfig, kernels: Kernels) -> tuple[ModuleSpec, type]:
    """The transformer layer, and the final norm, from the chosen kernels."""
    provider = SpecProvider(kernels)
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
            mlp=get_mlp_module_spec_for_backend(
                provider, num_experts=transformer.num_moe_experts, moe_grouped_gemm=kernels.moe == "te"
            ),
            mlp_bda=bias_dropout_add,
        ),
    )
    return layer, norm


def build_stage(config: RunConfig, transformer: TransformerConfig, chunk: int | None) -> GPTModel:
    """This rank's stage of the model (chunk: its virtual stage, None where not interleaved), on CPU."""
    model, layout = gpt_of(config), config.parallelism
    virtual = layout.virtual_stages > 1
    first = parallel_state.is_pipeline_first_stage(ignore_virtual=not virtual, vp_stage=chunk)
    last = parallel_state.is_pipeline_last_stage(ignore_virtual=not virtual, vp_stage=chunk)
    layer, norm = layer_spec(transformer, config.kernels)
    layers = get_num_layers_to_build(transformer, vp_stage=chunk)
    # cross entropy by torch computes the output layer too, the others take whole logits
    stage = FusedLossGPT if config.kernels.cross_entropy in (None, "torch") else GPTModel
    return stage(
        config=transformer,
        transformer_layer_spec=TransformerBlockSubmodules(layer_specs=[layer] * layers, layer_norm=norm),  # type: ignore[arg-type]
        vocab_size=model.padded_vocab_size,
        max_sequence_length=model.max_position_embeddings,
        pre_process=first,
        post_process=last,
        share_embeddings_and_output_weights=not model.untie_embeddings_and_output_weights,
        position_embedding_type=model.position_embedding_type,
        rotary_base=model.rotary_base,
        rope_scaling=model.rope_scaling_factor is not None,
        rope_scaling_factor=model.rope_scaling_factor or 1.0,
        vp_stage=chunk,
    )


def boundary(config: RunConfig) -> tuple[int, int]:
    """Length and width of what one stage hands to the next, for each sample of a microbatch."""
    return text_of(config).sequence_length, gpt_of(config).hidden_size


def every_stage_reads(config: RunConfig) -> bool:
    """Whether stages without embedding and loss need samples, too: where documents begin."""
    return text_of(config).reset_attention_mask


def forward_step(batches: Iterator[Batch], stage: torch.nn.Module) -> tuple[Tensor, Callable]:
    """One microbatch through one stage; the schedule calls the returned loss on the last stage.

    A batch holds tokens, labels, position_ids ([b, s] int64), loss_mask ([b, s] fp32) and, where documents are
    kept apart, document_starts ([b, s] int64, on the CPU); on ranks whose stages need none of them it is empty.
    """
    batch, spans = _of_this_rank(next(batches))
    targets = {name: batch.get(name) for name in ("labels", "loss_mask")}
    output = stage(batch.get("tokens"), batch.get("position_ids"), spans, **targets)
    return output, partial(_loss_of, batch)


def _loss_of(batch: Batch, losses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return loss(batch["loss_mask"], losses)


def loss(loss_mask: Tensor, losses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum of the tokens' cross entropies (nats), number of tokens, and both for the log as [2].

    losses: of the tokens, [b, s], or already their masked sum (FusedLossGPT).
    """
    total = torch.sum(losses.float() * loss_mask) if losses.dim() else losses
    tokens = loss_mask.sum()
    # a clone: the schedules scale the returned loss in place
    return total, tokens.to(torch.int), torch.stack([total.detach().clone(), tokens])


def _of_this_rank(whole: Batch) -> tuple[Batch, Tensor | None]:
    """This context-parallel rank's tokens, and which keys they may see where documents are kept apart."""
    rank, size = parallel_state.get_context_parallel_rank(), parallel_state.get_context_parallel_world_size()
    batch = {name: value for name, value in whole.items() if name != "document_starts"}
    starts = whole.get("document_starts")
    spans = None if starts is None else spans_of_samples(starts, rank, size)
    if size > 1 and batch:
        tokens = batch["tokens"]
        positions = local_positions(tokens.shape[1] // size, rank, size, tokens.device)
        batch = {name: value[:, positions].contiguous() for name, value in batch.items()}
    return batch, spans


def initial_std(config: RunConfig, key: str, shape: tuple[int, ...]) -> float | None:
    """Standard deviation of a parameter's initial normal distribution; None: constant (see initial_constant).

    Output projections are scaled by 1/sqrt(2 x layers), as in GPT-2 (Radford et al. 2019, section 2.3).
    """
    if len(shape) < 2:
        return None
    model = gpt_of(config)
    std = model.init_method_std
    if key.endswith(("linear_proj.weight", "linear_fc2.weight")):
        return std / (2 * model.num_layers) ** 0.5
    return std


def initial_constant(key: str) -> float:
    """Norm weights start at one, all other vectors (biases) at zero."""
    return 1.0 if key.endswith(("layernorm.weight", "layer_norm_weight")) else 0.0
