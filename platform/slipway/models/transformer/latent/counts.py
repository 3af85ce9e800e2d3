"""Parameters of latent attention, and its weights that multiply tokens. Pure Python."""

from slipway.models.transformer.block import Block


def parameters(block: Block, tp: int) -> int:
    """Return the parameters on one of tp ranks, without norms; the down-projections are whole on each."""
    return down(block) + up(block) // tp + int(block.bias) * block.hidden_size


def normed(block: Block) -> int:
    """Return how many numbers of a token's latent states are normalized."""
    assert block.latent
    return (block.latent.q_lora_rank or 0) + block.latent.kv_lora_rank


def weights(block: Block) -> int:
    """Return the weights that multiply each token."""
    return down(block) + up(block)


def down(block: Block) -> int:
    """Return the weights of the down-projections to the latent states, which every tensor-parallel rank has whole."""
    assert block.latent
    return block.hidden_size * ((block.latent.q_lora_rank or 0) + block.latent.kv_down)


def up(block: Block) -> int:
    """Return the weights of the up-projections and of the output projection, which are split by heads."""
    assert block.latent
    return products_up(block) + block.num_attention_heads * block.latent.v_head_dim * block.hidden_size


def products_up(block: Block) -> int:
    """Return the number of weights of the up-projections: to queries, and to keys and values."""
    latent, heads = block.latent, block.num_attention_heads
    assert latent
    queries = (latent.q_lora_rank or block.hidden_size) * heads * latent.qk_size
    return queries + latent.kv_lora_rank * heads * latent.kv_up
