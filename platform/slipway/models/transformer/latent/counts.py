"""Parameters of latent attention, and its weights that multiply. Pure Python."""

from slipway.models.transformer.block import Block


def parameters(block: Block, tp: int) -> int:
    """Return parameters on one of tp ranks, without norms: of the products down, all."""
    return down(block) + up(block) // tp + int(block.bias) * block.hidden_size


def normed(block: Block) -> int:
    """Return numbers of a token's latent states that are normalized."""
    assert block.latent
    return (block.latent.q_lora_rank or 0) + block.latent.kv_lora_rank


def weights(block: Block) -> int:
    """Weights that multiply each token."""
    return down(block) + up(block)


def down(block: Block) -> int:
    """Weights of the products down to the latent states, which every tensor-parallel rank has."""
    assert block.latent
    return block.hidden_size * ((block.latent.q_lora_rank or 0) + block.latent.kv_down)


def up(block: Block) -> int:
    """Weights of the products up from there, and of the projection: cut by heads."""
    assert block.latent
    return products_up(block) + block.num_attention_heads * block.latent.v_head_dim * block.hidden_size


def products_up(block: Block) -> int:
    """Weights of the products up: to queries, and to keys and values."""
    latent, heads = block.latent, block.num_attention_heads
    assert latent
    queries = (latent.q_lora_rank or block.hidden_size) * heads * latent.qk_size
    return queries + latent.kv_lora_rank * heads * latent.kv_up
