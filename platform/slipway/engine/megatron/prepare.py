"""Preparations before Megatron-core is imported. By itself it imports neither that nor torch."""

import logging
import warnings

from slipway.config.schema import RunConfig


def quiet() -> None:
    """Hide warnings about Megatron-core's use of older torch names: users need not see them at every start."""
    warnings.filterwarnings("ignore", module=r"megatron\.")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    warnings.filterwarnings("ignore", category=FutureWarning, message="Please use DTensor instead")
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
    logging.getLogger("megatron.core.dist_checkpointing.strategies.common").setLevel(logging.ERROR)


def adapt(config: RunConfig) -> None:
    """Import the parts of torch that only some configurations need; on CPUs install the CPU adapter."""
    if config.parallelism.data_parallel_sharding_strategy:
        # distributed tensors import it, for their shapes: here once, not in every forked rank
        import torch._dynamo  # noqa: F401
    if config.cluster.device.kind == "cpu":
        from slipway.engine.megatron import cpu_adapter

        cpu_adapter.install()
