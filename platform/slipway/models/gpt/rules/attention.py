"""Rules for heads, positions and windows, and for the layers' tensor parallelism."""

from slipway.config.schema import RunConfig
from slipway.errors import UserError
from slipway.models.divisible import check_divisible
from slipway.models.gpt.config import gpt_of


def check(config: RunConfig) -> None:
    """Raise UserError for the first broken rule."""
    _check_heads(config)
    _check_tensor_parallel(config)


def _check_heads(config: RunConfig) -> None:
    model = gpt_of(config)
    if model.kv_channels is None and model.latent is None:
        check_divisible(
            "model.hidden_size",
            "hidden size",
            model.hidden_size,
            "num_attention_heads",
            model.num_attention_heads,
        )
    check_divisible(
        "model.num_attention_heads",
        "attention heads",
        model.num_attention_heads,
        "num_query_groups",
        model.query_groups,
    )
    if model.rope_scaling is not None and model.position_embedding_type != "rope":
        raise UserError(
            "model.rope_scaling",
            f"needs position_embedding_type=rope, but it is {model.position_embedding_type}",
            value=model.rope_scaling.type,
            use="null",
        )
    if model.position_embedding_type == "rope" and model.latent is None and model.head_size % 2:
        raise UserError(
            "model.kv_channels",
            f"rotary embedding needs an even head size, but it is {model.head_size}",
            do="choose an even model.kv_channels",
        )


def _check_tensor_parallel(config: RunConfig) -> None:
    model, tp = gpt_of(config), config.parallelism.tensor_model_parallel_size
    by = "parallelism.tensor_model_parallel_size"
    check_divisible("model.num_attention_heads", "attention heads", model.num_attention_heads, by, tp)
    check_divisible("model.num_query_groups", "query groups", model.query_groups, by, tp)
    if model.moe_ffn_hidden_size is None or any(block.num_experts is None for block in model.blocks):
        check_divisible("model.ffn_hidden_size", "MLP width", model.mlp_size, by, tp)
    check_divisible("model.vocab_size", "padded vocabulary", model.padded_vocab_size, by, tp)
