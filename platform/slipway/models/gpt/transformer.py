"""The TransformerConfig of Megatron-core for a GPT."""

from collections.abc import Mapping
from typing import Any

from megatron.core.transformer.transformer_config import TransformerConfig

from slipway.config.schema import RunConfig
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.gpt.family import FAMILY
from slipway.models.gpt.fields.rotary import Yarn
from slipway.models.gpt.router import router
from slipway.models.transformer import config as shared


def transformer_config(config: RunConfig, settings: Mapping[str, Any]) -> TransformerConfig:
    """Return Megatron-core's configuration of the model; settings: the engine's fields for layout and precision."""
    model, layout = gpt_of(config), config.parallelism
    fields: dict[str, Any] = dict(
        init_method_std=model.init_method_std,
        cross_entropy_loss_fusion=config.kernels.cross_entropy == "te",
        cross_entropy_fusion_impl="te",
    )
    if model.latent:
        fields |= latent_rotary(model)
    elif model.rope_scaling is not None and model.rope_scaling.attention_scale != 1:
        # the scale of queries and of keys, all of whose channels rotate, so that no rotary kernel needs to know it
        fields["softmax_scale"] = model.rope_scaling.attention_scale**2 / model.head_size**0.5
    fields |= router(config)
    *spans, last = FAMILY.spans(config, layout)
    # without the layers of multi-token prediction, which follow Megatron-core's
    spans.append(range(last.start, last.stop - model.prediction_depths))
    chunks = shared.pipeline_layout(spans)
    if chunks is not None:
        fields["pipeline_model_parallel_layout"] = chunks
    return shared.transformer_config(config, model.blocks, settings, behind=model.prediction_depths, **fields)


def latent_rotary(model: Config) -> dict[str, Any]:
    """Return the fields that tell latent attention how to rotate its channels.

    Megatron-core multiplies the rotated channels by the ratio of magnitudes, and the scores by the square of the
    magnitude for mscale_all_dim, as DeepSeek-V2's code does; without both numbers it multiplies the channels by that
    for an mscale of 1.
    """
    yarn = model.rope_scaling
    if yarn is None:
        return dict(rope_type="rope", rotary_base=model.rotary_base, rotary_scaling_factor=1.0)
    assert isinstance(yarn, Yarn)
    return dict(
        rope_type="yarn",
        rotary_base=model.rotary_base,
        rotary_scaling_factor=yarn.factor,
        original_max_position_embeddings=yarn.original_max_position_embeddings,
        beta_fast=yarn.beta_fast,
        beta_slow=yarn.beta_slow,
        mscale=1.0 if yarn.mscale is None else yarn.mscale,
        mscale_all_dim=yarn.mscale_all_dim or 0.0,
    )
