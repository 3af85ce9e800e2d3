"""The sizes of multi-head latent attention."""

from typing import NamedTuple


class Latent(NamedTuple):
    """Named as in Megatron-core, which has them from DeepSeek-V2."""

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
