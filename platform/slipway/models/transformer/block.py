"""The sizes and kinds that define a transformer layer; its module and its arithmetic follow from them."""

from typing import Literal, NamedTuple


class Latent(NamedTuple):
    """Sizes of multi-head latent attention, named as in Megatron-core."""

    q_lora_rank: int | None
    """Width of the queries' latent state; None: queries are computed from the layer's input."""
    kv_lora_rank: int
    """Width of the latent state of keys and values."""
    qk_head_dim: int
    """Channels of a head's queries and keys without positions."""
    qk_pos_emb_head_dim: int
    """Channels of a head's queries and keys that positions rotate; all heads share those of the keys."""
    v_head_dim: int
    """Channels of a head's values."""

    @property
    def qk_size(self) -> int:
        """Channels of a head's queries, and of its keys."""
        return self.qk_head_dim + self.qk_pos_emb_head_dim

    @property
    def kv_down(self) -> int:
        """Outputs of the down-projection to keys and values, for each token."""
        return self.kv_lora_rank + self.qk_pos_emb_head_dim

    @property
    def kv_up(self) -> int:
        """Outputs of the up-projection to keys and values, for each head."""
        return self.qk_head_dim + self.v_head_dim


class Block(NamedTuple):
    """One pre-norm transformer layer: attention, then an MLP or experts."""

    hidden_size: int
    num_attention_heads: int
    query_groups: int
    """Heads of keys and values."""
    head_size: int
    """Size of a head's queries and keys; also of its values, except in latent attention."""
    mlp_size: int
    """Width of the MLP, or of one expert."""
    causal: bool
    """Whether a token attends only to itself and those before it; otherwise to all of its sample."""
    normalization: Literal["LayerNorm", "RMSNorm"] = "LayerNorm"
    norm_epsilon: float = 1e-5
    activation: Literal["gelu", "gelu_tanh", "swiglu"] = "gelu"
    bias: bool = True
    """Whether linear layers have biases, except that of queries, keys and values."""
    qkv_bias: bool = True
    qk_norm: bool = False
    """Whether each head's queries and keys are normalized, all heads with the same weights; in latent attention, the
    latent states."""
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    latent: Latent | None = None
    """Sizes of latent attention; None: queries, keys and values come from the layer's input."""
    window: int | None = None
    """Tokens that a token sees, including itself; None: all before it."""
    rotary: bool = False
    """Whether positions rotate Q and K (rotary embedding)."""
    num_experts: int | None = None
    """Experts of a mixture; None: a dense MLP."""
    topk: int = 1
    """Experts that a token is sent to."""
    shared_size: int = 0
    """Width of the shared experts together, which every token passes through; 0: none."""

    @property
    def width(self) -> int:
        """Width of all heads together."""
        return self.num_attention_heads * self.head_size

    @property
    def group_width(self) -> int:
        """Width of all keys, and of all values."""
        return self.query_groups * self.head_size

    def seen(self, tokens: int) -> int:
        """Return how many tokens a token sees at most, in a sample of so many."""
        return min(tokens, self.window or tokens)

    @property
    def value_size(self) -> int:
        """Size of a head's values."""
        return self.latent.v_head_dim if self.latent else self.head_size

    @property
    def gates(self) -> int:
        """First layers of an MLP: a gated one has two."""
        return 2 if self.activation == "swiglu" else 1

    @property
    def visited(self) -> int:
        """MLPs that a token passes through."""
        return self.topk if self.num_experts else 1
