"""Why a run cannot use a value of a switch: one function each, which returns None if it can. Pure. Imports no torch."""

from slipway.config.schema import RunConfig
from slipway.kernels.probe import Machine
from slipway.models import family

DEEP_EP_RANKS = frozenset({2, 4, 8, 16, 24, 32, 64, 128, 144, 160})
"""Sizes of groups for which DeepEP states its buffers (Buffer.get_dispatch_config of its first version)."""
DEEP_EP_CAPABILITY = (9, 0)
MXFP8_ROWS = 128
"""Transformer Engine's user buffers take MXFP8 tensors whose rows are a multiple of this."""


def of_flex(config: RunConfig, machine: Machine | None) -> str | None:
    """Return why moe_token_dispatcher_type=flex, DeepEP's kernels, cannot be used; None if it can.

    machine: None if it is not known yet.
    """
    if config.cluster.device.kind != "cuda":
        return "needs GPUs: DeepEP has no kernels for others"
    if expert_ranks(config) == 1:
        return "has no other ranks to send to: tensor x expert-parallel size is 1"
    if config.training.precision != "bf16":
        return "needs training.precision=bf16: DeepEP sends nothing else"
    if machine is None:
        return None
    if machine.deep_ep.trouble is not None:
        return f"needs DeepEP: {machine.deep_ep.trouble}"
    found = machine.compute_capability
    if found is None or found < DEEP_EP_CAPABILITY:
        here = "not known" if found is None else f"{found[0]}.{found[1]}"
        return f"needs a GPU of compute capability 9.0 or higher; here: {here}"
    return None


def expert_ranks(config: RunConfig) -> int:
    """Return the number of ranks that share a token's experts: tensor x expert-parallel size."""
    layout = config.parallelism
    return layout.tensor_model_parallel_size * layout.expert_model_parallel_size


def of_tensor_overlap(config: RunConfig) -> str | None:
    """Return why tp_comm_overlap=true, Transformer Engine's user buffers, cannot be used; None if it can."""
    layout, training = config.parallelism, config.training
    size, here = layout.tensor_model_parallel_size, config.resources.devices_per_node
    if training.precision != "bf16":
        return "needs training.precision=bf16: so are the user buffers"
    if here % size:
        return (
            f"needs tensor-parallel ranks that see each other's memory: tensor {size} does not divide the {here} "
            "devices of a node"
        )
    if layout.data_parallel_sharding_strategy:
        return "needs CUDA_DEVICE_MAX_CONNECTIONS=1, which does not work with data_parallel_sharding_strategy"
    if training.fp8 and training.fp8_recipe == "blockwise":
        return "does not work with training.fp8_recipe=blockwise: user buffers do not take such tensors"
    tokens = family(config).sample(config).units * training.micro_batch_size
    rows = tokens // (layout.context_parallel_size * size)
    if training.fp8 and training.fp8_recipe == "mxfp8" and rows % MXFP8_ROWS:
        return (
            f"with training.fp8_recipe=mxfp8 needs a multiple of {MXFP8_ROWS} tokens on a rank, but there are {rows} = "
            f"{tokens} of a microbatch / (context {layout.context_parallel_size} x tensor {size})"
        )
    return None


def of_graphs(config: RunConfig) -> str | None:
    """Return why cuda_graph_impl=local cannot be used; None if it can.

    What each step decides anew, or keeps elsewhere, cannot be recorded once. Each family's own rules have what only it
    knows.
    """
    layout, training = config.parallelism, config.training
    if training.precision != "bf16":
        return (
            "needs training.precision=bf16: a step's first fp32 gradients are written, later ones added, and one "
            "recording does either"
        )
    if training.fp8:
        return "does not work with training.fp8: scales are not recorded"
    if training.recompute != "none":
        return f"does not work with training.recompute={training.recompute}: a recording keeps what it has computed"
    if layout.data_parallel_sharding_strategy:
        return "does not work with data_parallel_sharding_strategy: gathered parameters are elsewhere in each step"
    if layout.pipeline_model_parallel_size > 1:
        return (
            f"does not work with pipeline_model_parallel_size={layout.pipeline_model_parallel_size}: each microbatch "
            "would have a recording of its own, whose memory the plan does not count"
        )
    return None
