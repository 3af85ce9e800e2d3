"""The fields of Megatron-core's configuration for layout and precision, whatever the family."""

from typing import Any

import torch
from megatron.core.transformer.transformer_config import TransformerConfig

from slipway.config.schema import RunConfig
from slipway.plan import switches


def settings(config: RunConfig) -> dict[str, Any]:
    """Return the fields of TransformerConfig."""
    layout, bf16 = config.parallelism, config.training.precision == "bf16"
    dtype = torch.bfloat16 if bf16 else torch.float32
    chosen = switches.values(config)
    return dict(
        tensor_model_parallel_size=layout.tensor_model_parallel_size,
        pipeline_model_parallel_size=layout.pipeline_model_parallel_size,
        virtual_pipeline_model_parallel_size=layout.virtual_stages if layout.virtual_stages > 1 else None,
        context_parallel_size=layout.context_parallel_size,
        expert_model_parallel_size=layout.expert_model_parallel_size,
        sequence_parallel=layout.sequence_parallel,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=bf16,
        # weights come from slipway.engine.megatron.weights: the same for every layout
        perform_initialization=False,
        # the gradient is the sum over all that counts, divided once by its number: the same for every layout
        calculate_per_token_loss=True,
        # batched P2P with interleaved stages gives silently wrong gradients
        batch_p2p_comm=False,
        overlap_p2p_comm=chosen.get("overlap_p2p_comm", False),
        deallocate_pipeline_outputs=chosen.get("deallocate_pipeline_outputs", True),
        moe_token_dispatcher_type=chosen.get("moe_token_dispatcher_type", "allgather"),
        tp_comm_overlap=chosen.get("tp_comm_overlap", False),
        cuda_graph_impl=chosen.get("cuda_graph_impl", "none"),
        gradient_accumulation_fusion=config.kernels.grad_accumulation == "apex",
    )


def plain_transformer(config: RunConfig, width: int) -> TransformerConfig:
    """Return a configuration for a family's own modules: layout, precision, and the width between stages."""
    layout = config.parallelism
    stages = layout.pipeline_model_parallel_size * layout.virtual_stages
    return TransformerConfig(num_layers=stages, hidden_size=width, num_attention_heads=1, **settings(config))
