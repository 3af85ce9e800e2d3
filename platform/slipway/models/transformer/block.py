"""What a transformer layer is: the sizes and kinds from which its module and its arithmetic follow."""

from typing import Literal, NamedTuple


class Block(NamedTuple):
    """One pre-norm transformer layer: attention, then an MLP or experts."""

    hidden_size: int
    num_attention_heads: int
    query_groups: int
    """Heads of keys and values."""
    head_size: int
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
    """Whether each head's queries and keys are normalized, all heads with the same weights."""
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
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

    @property
    def gates(self) -> int:
        """First layers of an MLP: a gated one has two."""
        return 2 if self.activation == "swiglu" else 1

    @property
    def visited(self) -> int:
        """MLPs that a token meets."""
        return self.topk if self.num_experts else 1
