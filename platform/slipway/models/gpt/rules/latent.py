"""Rules for latent attention (slipway.models.transformer.latent)."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.gpt.config import Config, gpt_of
from slipway.models.gpt.fields.rotary import Yarn

SIZES = ("kv_lora_rank", "qk_head_dim", "qk_pos_emb_head_dim", "v_head_dim")
"""The required sizes; q_lora_rank is optional."""


def check(config: RunConfig) -> None:
    """Raise UserError for the first broken rule."""
    model = gpt_of(config)
    if not model.multi_latent_attention:
        _check_unused(model)
        return
    _check_sizes(model)
    _check_fields(model)
    _check_scaling(model)
    _check_layout(config)


def _check_unused(model: Config) -> None:
    for name in ("q_lora_rank", *SIZES):
        if getattr(model, name) is not None:
            raise UserError(
                f"model.{name}",
                "has no effect without model.multi_latent_attention",
                value=getattr(model, name),
                use="null",
            )


def _check_sizes(model: Config) -> None:
    for name in SIZES:
        if getattr(model, name) is None:
            raise UserError(
                f"model.{name}",
                "is not valid with model.multi_latent_attention",
                value="null",
                use="a size above 0",
            )
    turned = model.qk_pos_emb_head_dim or 0
    if turned % 2:
        raise UserError(
            "model.qk_pos_emb_head_dim",
            f"is odd: positions turn pairs of channels ({turned} = {turned // 2} x 2 + 1)",
            value=turned,
            do="use an even number",
        )


def _check_fields(model: Config) -> None:
    heads = model.num_attention_heads
    for name, fits, why, use in (
        (
            "num_query_groups",
            model.query_groups == heads,
            f"latent attention has keys and values for each of its {heads} heads",
            "null",
        ),
        (
            "kv_channels",
            model.kv_channels is None,
            "heads of latent attention are of qk_head_dim + qk_pos_emb_head_dim and v_head_dim",
            "null",
        ),
        (
            "position_embedding_type",
            model.position_embedding_type == "rope",
            "latent attention turns qk_pos_emb_head_dim channels of each head",
            "rope",
        ),
        (
            "qk_layernorm",
            model.qk_layernorm,
            "latent states are normalized, as in DeepSeek-V3",
            "true",
        ),
        (
            "add_bias_linear",
            not model.add_bias_linear,
            "products of latent attention have no biases",
            "false",
        ),
        ("add_qkv_bias", not model.add_qkv_bias, "products of latent attention have no biases", "false"),
        ("window_size", model.window_size is None, "latent attention sees all tokens before", "null"),
    ):
        if not fits:
            raise UserError(
                f"model.{name}",
                f"does not work with model.multi_latent_attention: {why}",
                value=str(getattr(model, name)).lower(),
                use=use,
            )


def _check_scaling(model: Config) -> None:
    """Raise UserError for a rope_scaling that Megatron-core's latent attention does not compute."""
    scaling = model.rope_scaling
    if scaling is None:
        return
    if not isinstance(scaling, Yarn):
        raise UserError(
            "model.rope_scaling.type",
            "does not work with model.multi_latent_attention, whose channels Megatron-core turns itself",
            value=scaling.type,
            use="yarn",
        )
    if scaling.attention_factor is not None:
        raise UserError(
            "model.rope_scaling.attention_factor",
            "does not work with model.multi_latent_attention, whose factors follow from mscale and mscale_all_dim",
            value=scaling.attention_factor,
            use="null",
        )
    if not scaling.truncate:
        raise UserError(
            "model.rope_scaling.truncate",
            "does not work with model.multi_latent_attention: Megatron-core rounds its limits to whole pairs",
            value=False,
            use="true",
        )


def _check_layout(config: RunConfig) -> None:
    layout = config.parallelism
    tp = layout.tensor_model_parallel_size
    if tp > 1 and not layout.sequence_parallel:
        raise UserError(
            "parallelism.sequence_parallel",
            f"is needed with model.multi_latent_attention and tensor_model_parallel_size {tp}: without it "
            "Megatron-core's gradients of the keys' turned channels are those of one rank's heads",
            value=False,
            use="true",
        )
    if layout.tp_comm_overlap:
        raise UserError(
            "parallelism.tp_comm_overlap",
            "does not work with model.multi_latent_attention: Transformer Engine has no user buffers for latent states",
            value=True,
            use="null",
        )
