"""The hidden matrices of transformer layers: each matrix that published weights store separately. Pure Python.

Megatron-core's modules hold several in one weight, to make products as large as possible. Q, K and V are separate
matrices (as in Megatron-core's own Muon, `muon_split_qkv`), and so are a gated MLP's two first layers and each expert's
layers; heads are not. The same holds for the weights of transformers' models, which torch.optim.Muon would take one by
one.
"""

from slipway.models.transformer.block import Block
from slipway.optimizers.matrix import Matrix


def matrix(block: Block, key: str, shape: tuple[int, ...]) -> Matrix:
    """Return how a layer's weight holds its matrices. shape: of a rank's part of the weight."""
    if key.endswith(
        "linear_qkv.weight"
    ):  # for each group: its queries' heads, then a head of keys and one of values
        queries = block.num_attention_heads // block.query_groups * block.head_size
        return Matrix((queries, block.head_size, block.head_size))
    if key.endswith("linear_fc1.weight") and block.gates == 2:
        return Matrix((shape[-2] // 2, shape[-2] // 2))
    return Matrix()
