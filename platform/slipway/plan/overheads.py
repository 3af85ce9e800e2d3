"""Memory besides the model's: buffers, libraries, fragmentation; the constants and their sources.

docs/planner-memory.md has the measurements that they are held against. On CPUs only buffers that the trainer makes
itself are counted: what a process takes besides is the host's memory.
"""

import math

from slipway.config.schema import RunConfig
from slipway.plan.layout import Grid

MB, MIB, GIB = 10**6, 2**20, 2**30

CONTEXT = 543 * MIB
"""CUDA's context: bytes of a process on an A100 before its first tensor (github.com/pytorch/pytorch/issues/81257)."""
COMMUNICATOR, OF_TWO = 688 * MB, 544 * MB
"""NCCL's buffers of one group of ranks, or of a pair, on A100 with NVLink (github.com/NVIDIA/nccl/issues/964)."""
PEER, PEERS = 470 * MB, 7
"""Bytes that the first all-to-all adds for each peer of a node: 3.28 GB on 8 H100 (github.com/NVIDIA/nccl/issues/1685).
"""
FRAGMENTED, AT_LEAST = 0.2, 0.05
"""Shares of what each step allocates and releases that the allocator holds in addition.

The first applies if there is room, the second if the allocator gives back what it can: fitted to what SimuMax's runs on
B200 reserved and allocated (least squares), and the largest share with which nearly all published runs fit into their
devices (docs).
"""


def exchanged(config: RunConfig, grid: Grid, sent: int, shared: int, blocks: int) -> int:
    """Return the bytes of the trainer's own buffers.

    sent: bytes that a stage hands on. shared: of buffers that layers use one after the other. blocks: of the rank.
    These buffers receive the next stage's gradient and the activation that comes next; with cuda_graph_impl=local,
    others are what a recording of each block reads and writes.
    """
    records = config.parallelism.cuda_graph_impl == "local"
    return shared + 2 * sent * (grid.pp > 1) + 2 * sent * blocks * records


def of_framework(config: RunConfig, grid: Grid) -> int:
    """Return the bytes that are not tensors: CUDA's context, and NCCL's buffers for each group of several ranks."""
    if config.cluster.device.kind != "cuda":
        return 0
    groups = sum(COMMUNICATOR if size > 2 else OF_TWO for size in groups_of(grid))
    return CONTEXT + groups + PEER * min(PEERS, grid.ep - 1)


def groups_of(grid: Grid) -> list[int]:
    """Return the sizes of the groups of several ranks in which a rank exchanges, as Megatron-core makes them."""
    experts = grid.expert_dp if grid.ep > 1 else 1
    sizes = [grid.tp, grid.pp, grid.cp, grid.dp * grid.cp, grid.ep, experts, grid.world_size]
    return [size for size in sizes if size > 1]


def fragmentation(config: RunConfig, passing: int, used: int) -> int:
    """Return the bytes that the allocator holds and cannot give to anybody.

    passing: bytes that each step allocates and releases. used: all that is needed, these among it. If the device has no
    room for more, the allocator returns blocks that nobody uses, except what is scattered among those in use.
    """
    device = config.cluster.device
    if device.kind != "cuda":
        return 0
    room = math.inf if device.memory_gib is None else int(device.memory_gib * GIB) - used
    return int(max(AT_LEAST * passing, min(FRAGMENTED * passing, room)))
