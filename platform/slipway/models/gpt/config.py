"""The configuration of a GPT: the fields of `conf/model/*.yaml` for the family `gpt`. Names are Megatron-core's."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt

from slipway.config.schema import RunConfig
from slipway.config.section import ModelSection
from slipway.models.gpt.fields.attention import Attention
from slipway.models.gpt.fields.experts import Experts
from slipway.models.gpt.fields.prediction import Prediction
from slipway.models.transformer.block import Block, Latent


class Config(Attention, Experts, Prediction, ModelSection):
    """Decoder-only transformer. Sizes that are null follow from the others as in Megatron-core."""

    family: Literal["gpt"] = Field(default="gpt", description="The model family.")
    name: str = Field(description="Name of the preset, used in default run names.")
    num_layers: PositiveInt = Field(description="Transformer layers.")
    hidden_size: PositiveInt = Field(description="Width of the hidden states.")
    ffn_hidden_size: PositiveInt | None = Field(
        default=None, description="Width of the MLP; null: 4 x hidden_size."
    )
    vocab_size: PositiveInt = Field(description="Entries of the tokenizer's vocabulary.")
    make_vocab_size_divisible_by: PositiveInt = Field(
        default=128,
        description="Pad the embedding table to a multiple of this, in every layout alike.",
    )
    max_position_embeddings: PositiveInt = Field(description="Longest sequence, in tokens.")
    normalization: Literal["LayerNorm", "RMSNorm"] = Field(
        default="LayerNorm", description="Kind of all norms."
    )
    norm_epsilon: PositiveFloat = Field(
        default=1e-5, description="Epsilon added to the variance (RMSNorm: to the mean square)."
    )
    activation: Literal["gelu", "gelu_tanh", "swiglu"] = Field(
        default="gelu",
        description="Activation of the MLP. gelu_tanh is GELU approximated by tanh, as in GPT-2 and Starcoder2.",
    )
    add_bias_linear: bool = Field(
        default=True, description="Use biases in the linear layers (GPT-3 does, Llama does not)."
    )
    untie_embeddings_and_output_weights: bool = Field(
        default=False, description="Give the output layer weights of its own."
    )
    hidden_dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the hidden states that dropout zeroes in each training step.",
    )
    init_method_std: PositiveFloat = Field(
        default=0.02, description="Standard deviation of the initial weights."
    )

    @property
    def head_size(self) -> int:
        """Size of one attention head: of its queries and keys."""
        if self.latent:
            return self.latent.qk_size
        return self.kv_channels or self.hidden_size // self.num_attention_heads

    @property
    def query_groups(self) -> int:
        """Number of key/value heads."""
        return self.num_query_groups or self.num_attention_heads

    @property
    def latent(self) -> Latent | None:
        """Sizes of latent attention, if it is on; slipway.models.gpt.rules.latent requires them."""
        if not self.multi_latent_attention:
            return None
        return Latent(
            q_lora_rank=self.q_lora_rank,
            kv_lora_rank=self.kv_lora_rank or 0,
            qk_head_dim=self.qk_head_dim or 0,
            qk_pos_emb_head_dim=self.qk_pos_emb_head_dim or 0,
            v_head_dim=self.v_head_dim or 0,
        )

    @property
    def mlp_size(self) -> int:
        """Width of the MLP."""
        return self.ffn_hidden_size or 4 * self.hidden_size

    @property
    def expert_size(self) -> int:
        """Width of one expert."""
        return self.moe_ffn_hidden_size or self.mlp_size

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Its transformer layers, in order."""
        mixtures = [
            self.num_moe_experts is not None and layer >= self.first_k_dense_replace
            for layer in range(self.num_layers)
        ]
        kinds = list(zip(mixtures, self.windows, strict=True))
        made = {kind: self._block(*kind) for kind in set(kinds)}
        return tuple(made[kind] for kind in kinds)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy as pydantic does, but without the cached blocks, which were made from other fields."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("blocks", None)
        return copied

    @property
    def prediction_depths(self) -> int:
        """Number of multi-token prediction layers, each with a block like the last one."""
        return self.mtp_num_layers or 0

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Tokens that a token sees in each layer, including itself; None: all before it."""
        layers, full = range(self.num_layers), self.window_attn_skip_freq
        if isinstance(full, int):
            return tuple(self.window_size if (layer + 1) % full else None for layer in layers)
        if full is None:
            return (self.window_size,) * self.num_layers
        return tuple(self.window_size if 1 in full[layer : layer + 1] else None for layer in layers)

    def _block(self, mixture: bool, window: int | None) -> Block:
        return Block(
            hidden_size=self.hidden_size,
            num_attention_heads=self.num_attention_heads,
            query_groups=self.query_groups,
            head_size=self.head_size,
            mlp_size=self.expert_size if mixture else self.mlp_size,
            causal=True,
            normalization=self.normalization,
            norm_epsilon=self.norm_epsilon,
            activation=self.activation,
            bias=self.add_bias_linear,
            qkv_bias=self.add_bias_linear or self.add_qkv_bias,
            qk_norm=self.qk_layernorm,
            latent=self.latent,
            hidden_dropout=self.hidden_dropout,
            attention_dropout=self.attention_dropout,
            window=window,
            rotary=self.position_embedding_type == "rope",
            num_experts=self.num_moe_experts if mixture else None,
            topk=self.moe_router_topk,
            shared_size=(self.moe_shared_expert_intermediate_size or 0) if mixture else 0,
        )

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding table: the same for every layout, so that checkpoints fit all."""
        multiple = self.make_vocab_size_divisible_by
        return -(-self.vocab_size // multiple) * multiple


def gpt_of(config: RunConfig) -> Config:
    """Return the section `model` of a run that trains a GPT."""
    assert isinstance(config.model, Config), f"model.family is {config.model.family}"
    return config.model
