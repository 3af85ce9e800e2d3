"""The hidden matrices of transformer layers: those that published weights have, each by itself. Pure Python.

Megatron-core's modules hold several in one weight, for products as large as possible. Q, K and V are matrices of their
own (so Megatron-core's own Muon, `muon_split_qkv`), a gated MLP's two first layers too, and each expert's; heads are
not. So are the weights of transformers' models, whose matrices torch.optim.Muon would take one by one.
"""

from slipway.models.transformer.block import Block
from slipway.optimizers.matrix import Matrix


def matrix(block: Block, key: str, shape: tuple[int, ...]) -> Matrix:
    """Return the matrices in a weight of a layer; shape: of a rank's part of it."""
    if key.endswith(
        "linear_qkv.weight"
    ):  # of each group: its queries' heads, then a head of keys and one of values
        queries = block.num_attention_heads // block.query_groups * block.head_size
        return Matrix((queries, block.head_size, block.head_size))
    if key.endswith("linear_fc1.weight") and block.gates == 2:
        return Matrix((shape[-2] // 2, shape[-2] // 2))
    return Matrix()
