"""What a transformer layer is: the sizes and kinds from which its module and its arithmetic follow."""

from typing import Literal, NamedTuple


class Latent(NamedTuple):
    """Sizes of multi-head latent attention, named as in Megatron-core."""

    q_lora_rank: int | None
    """Width of the queries' latent state; None: they are made from the layer's input."""
    kv_lora_rank: int
    """Width of the latent state of keys and values."""
    qk_head_dim: int
    """Of a head's queries and keys, the part without positions."""
    qk_pos_emb_head_dim: int
    """The part turned by positions; all heads have one key of it."""
    v_head_dim: int
    """Of a head's values."""

    @property
    def qk_size(self) -> int:
        """Of a head's queries, and of its keys."""
        return self.qk_head_dim + self.qk_pos_emb_head_dim

    @property
    def kv_down(self) -> int:
        """Outputs of the product down to keys and values, of each token."""
        return self.kv_lora_rank + self.qk_pos_emb_head_dim

    @property
    def kv_up(self) -> int:
        """Of a head, outputs of the product up to keys and values."""
        return self.qk_head_dim + self.v_head_dim


class Block(NamedTuple):
    """One pre-norm transformer layer: attention, then an MLP or experts."""

    hidden_size: int
    num_attention_heads: int
    query_groups: int
    """Heads of keys and values."""
    head_size: int
    """Of queries and keys; of values, too, but for latent attention."""
    mlp_size: int
    """Width of the MLP, or of one expert."""
    causal: bool
    """Whether a token attends only to itself and those before it; otherwise to all of its sample."""
    normalization: Literal["LayerNorm", "RMSNorm"] = "LayerNorm"
    norm_epsilon: float = 1e-5
    activation: Literal["gelu", "gelu_tanh", "swiglu"] = "gelu"
    bias: bool = True
    """Of all linear layers but that of queries, keys and values."""
    qkv_bias: bool = True
    qk_norm: bool = False
    """Whether each head's queries and keys are normalized, all heads with the same weights; of latent attention, the
    latent states."""
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    latent: Latent | None = None
    """Sizes of latent attention; None: queries, keys and values come from the layer's input."""
    window: int | None = None
    """Tokens that a token sees, itself included; None: all before it."""
    rotary: bool = False
    """Whether Q and K are turned by their positions (rotary embedding)."""
    num_experts: int | None = None
    """None: a dense MLP."""
    topk: int = 1
    """Experts that a token is sent to."""
    shared_size: int = 0
    """Width of the experts, taken together, that every token meets besides; 0: none."""

    @property
    def width(self) -> int:
        """Width of all heads together."""
        return self.num_attention_heads * self.head_size

    @property
    def group_width(self) -> int:
        """Width of all keys, and of all values."""
        return self.query_groups * self.head_size

    def seen(self, tokens: int) -> int:
        """Return tokens that a token sees at most, in a sample of so many."""
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
        """MLPs that a token meets."""
        return self.topk if self.num_experts else 1
