"""Attention: heads, positions, windows, and latent attention."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, PositiveFloat, PositiveInt

from slipway.models.gpt.fields.rotary import RopeScaling


def _which(value: object) -> object:
    """Return the value if it is a positive number, a list of zeros and ones, or None.

    Raises ValueError otherwise.
    """
    items = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [item for item in items if isinstance(item, int) and not isinstance(item, bool)]
    fitting = set(numbers) <= {0, 1} if isinstance(value, list | tuple) else min(numbers, default=0) >= 1
    right = len(numbers) == len(items) and fitting
    if value is not None and not right:
        raise ValueError("must be a positive number, or a list with 0 or 1 for each layer")
    return value


class Attention(BaseModel):
    """Fields of a GPT's attention. Sizes that are null follow from the others as in Megatron-core."""

    num_attention_heads: PositiveInt = Field(description="Heads of the queries.")
    num_query_groups: PositiveInt | None = Field(
        default=None,
        description="Key/value heads (grouped-query attention); null: as many as attention heads.",
    )
    kv_channels: PositiveInt | None = Field(
        default=None, description="Size of one head; null: hidden_size / num_attention_heads."
    )
    qk_layernorm: bool = Field(
        default=False, description="Normalize each head's queries and keys, as in Qwen3."
    )
    add_qkv_bias: bool = Field(
        default=False,
        description="Use biases for queries, keys and values even if other linear layers have none, as in Qwen2.",
    )
    position_embedding_type: Literal["learned_absolute", "rope"] = Field(
        default="learned_absolute",
        description="Kind of positions. learned_absolute: a learned vector for each; rope: rotary embedding of "
        "queries and keys.",
    )
    rotary_base: PositiveFloat = Field(default=10000.0, description="Base of the rotary frequencies (theta).")
    rope_scaling: RopeScaling = Field(
        default=None,
        description="Scaling of rotary frequencies for a longer context: type llama3 or yarn, with the numbers "
        "under Hugging Face's names; null: none.",
    )
    window_size: PositiveInt | None = Field(
        default=None,
        description="Tokens that a token sees, itself included, in layers with a sliding window; null: all before it.",
    )
    window_attn_skip_freq: Annotated[int | list[int] | None, BeforeValidator(_which)] = Field(
        default=None,
        description="Which layers see all tokens despite window_size: N, every Nth one (Gemma 3: 6, gpt-oss: 2), "
        "or a list with 0 for each of these and 1 for each with the window; null: none.",
    )
    attention_dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the attention weights that dropout zeroes in each training step.",
    )
    multi_latent_attention: bool = Field(
        default=False,
        description="Compute keys and values from a low-rank latent state, as in DeepSeek-V3; needs the next five "
        "fields.",
    )
    q_lora_rank: PositiveInt | None = Field(
        default=None, description="Width of the queries' latent state; null: compute queries directly."
    )
    kv_lora_rank: PositiveInt | None = Field(
        default=None, description="Width of the latent state of keys and values."
    )
    qk_head_dim: PositiveInt | None = Field(
        default=None, description="Size of the part of a head's queries and keys without positions."
    )
    qk_pos_emb_head_dim: PositiveInt | None = Field(
        default=None,
        description="Size of the part of a head's queries and keys that positions rotate; all heads share the "
        "keys' part.",
    )
    v_head_dim: PositiveInt | None = Field(default=None, description="Size of a head's values.")
