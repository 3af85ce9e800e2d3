"""What Megatron-core is told of a GPT: its TransformerConfig."""

from collections.abc import Mapping
from typing import Any

from megatron.core.transformer.transformer_config import TransformerConfig

from slipway.config.schema import RunConfig
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.family import FAMILY
from slipway.models.gpt.router import router
from slipway.models.transformer import config as shared


def transformer_config(config: RunConfig, settings: Mapping[str, Any]) -> TransformerConfig:
    """Megatron-core's configuration of the model; settings: what the engine says of layout and precision."""
    model, layout = gpt_of(config), config.parallelism
    fields: dict[str, Any] = dict(
        init_method_std=model.init_method_std,
        cross_entropy_loss_fusion=config.kernels.cross_entropy == "te",
        cross_entropy_fusion_impl="te",
    )
    fields |= router(config)
    chunks = shared.pipeline_layout(FAMILY.spans(config, layout))
    if chunks is not None:
        fields["pipeline_model_parallel_layout"] = chunks
    return shared.transformer_config(config, model.blocks, settings, **fields)
