"""Buffers in which ranks exchange what a GPT's layers compute: one of each, used by all layers in turn. Pure Python."""

from slipway.config.schema import Parallelism, RunConfig
from slipway.models.gpt.activations import state_bytes, tokens_per_rank
from slipway.models.gpt.config import gpt_of

USER_BUFFERS = 10
"""Products with a user buffer: the first and second of attention and MLP, their gradients, and the gathered inputs of
two weights' gradients (Transformer Engine, `initialize_ub` in pytorch/module/base.py)."""

# DeepEP's defaults, and what a token is there: csrc/config.hpp, get_nvl_buffer_size_hint and get_rdma_buffer_size_hint
CHANNELS, WAITING_INSIDE, WAITING_BETWEEN, OF_NODE = 10, 256, 128, 8
BESIDE = 128 * (8 + 4 + 4) + 8
"""Bytes with a token: numbers, weights and scales of up to 128 experts, and where it comes from."""


def shared_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Bytes of all of them on one rank."""
    return gathered_bytes(config, layout) + user_buffer_bytes(config, layout) + deep_ep_bytes(config, layout)


def gathered_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Of the buffer into which the dispatcher `allgather` takes all tokens of a group."""
    ranks = layout.tensor_model_parallel_size * layout.expert_model_parallel_size
    gathers = gpt_of(config).num_moe_experts and layout.moe_token_dispatcher_type == "allgather"
    return ranks * state_bytes(config, layout) if gathers and ranks > 1 else 0


def user_buffer_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Of what tensor-parallel ranks write into each other's memory, in bf16, where tp_comm_overlap is on."""
    if not layout.tp_comm_overlap:
        return 0
    return USER_BUFFERS * 2 * tokens_per_rank(config, layout) * gpt_of(config).hidden_size


def deep_ep_bytes(config: RunConfig, layout: Parallelism) -> int:
    """Of DeepEP's, where it dispatches the tokens (`flex`): for each rank of a node, and for each node."""
    if layout.moe_token_dispatcher_type != "flex":
        return 0
    ranks = layout.tensor_model_parallel_size * layout.expert_model_parallel_size
    token = 2 * gpt_of(config).hidden_size + BESIDE
    inside = CHANNELS * min(ranks, OF_NODE) * WAITING_INSIDE * token
    between = CHANNELS * (ranks // OF_NODE) * WAITING_BETWEEN * 2 * token if ranks > OF_NODE else 0
    return inside + between
