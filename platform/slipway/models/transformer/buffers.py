"""Buffers in which ranks exchange what transformer layers compute: all layers share one of each. Pure Python."""

from slipway.models.transformer.share import Share

USER_BUFFERS = 10
"""Products with a user buffer: the first and second of attention and MLP, their gradients, and the gathered inputs of
two weights' gradients (Transformer Engine, `initialize_ub` in pytorch/module/base.py)."""

# DeepEP's defaults, and what a token is there: csrc/config.hpp, get_nvl_buffer_size_hint and get_rdma_buffer_size_hint
CHANNELS, WAITING_INSIDE, WAITING_BETWEEN, OF_NODE = 10, 256, 128, 8
BESIDE = 128 * (8 + 4 + 4) + 8
"""Bytes sent with a token: the numbers, weights and scales of up to 128 experts, and the token's origin."""


def shared_bytes(share: Share) -> int:
    """Return the bytes of all buffers on one rank."""
    return gathered_bytes(share) + user_buffer_bytes(share) + deep_ep_bytes(share)


def gathered_bytes(share: Share) -> int:
    """Return the bytes of the buffer into which the dispatcher `allgather` gathers all tokens of a group."""
    ranks = share.tp * share.layout.expert_model_parallel_size
    gathers = share.block.num_experts and share.layout.moe_token_dispatcher_type == "allgather"
    return ranks * share.state_bytes if gathers and ranks > 1 else 0


def user_buffer_bytes(share: Share) -> int:
    """Return the bytes, in bf16, of the buffers that tensor-parallel ranks write to with tp_comm_overlap; else 0."""
    if not share.layout.tp_comm_overlap:
        return 0
    return USER_BUFFERS * 2 * share.tokens * share.block.hidden_size


def deep_ep_bytes(share: Share) -> int:
    """Return the bytes of DeepEP's buffers, for each rank of a node and for each node.

    They are 0 unless DeepEP dispatches the tokens (`flex`).
    """
    if share.layout.moe_token_dispatcher_type != "flex":
        return 0
    ranks = share.tp * share.layout.expert_model_parallel_size
    token = 2 * share.block.hidden_size + BESIDE
    inside = CHANNELS * min(ranks, OF_NODE) * WAITING_INSIDE * token
    between = CHANNELS * (ranks // OF_NODE) * WAITING_BETWEEN * 2 * token if ranks > OF_NODE else 0
    return inside + between
