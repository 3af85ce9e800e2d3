"""What comes before Megatron-core is imported. Imports neither it nor torch by itself."""

import logging
import warnings

from slipway.config.schema import RunConfig


def quiet() -> None:
    """Keep to itself what Megatron-core does with torch's older names: it is not for people to read at every start."""
    warnings.filterwarnings("ignore", module=r"megatron\.")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    warnings.filterwarnings("ignore", category=FutureWarning, message="Please use DTensor instead")
    warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
    logging.getLogger("megatron.core.dist_checkpointing.strategies.common").setLevel(logging.ERROR)


def adapt(config: RunConfig) -> None:
    """Import what only some configurations need of torch; on CPUs let Megatron-core run there."""
    if config.parallelism.data_parallel_sharding_strategy:
        # distributed tensors do, for their shapes: here once, not in every forked rank
        import torch._dynamo  # noqa: F401
    if config.cluster.device.kind == "cpu":
        from slipway.engine.megatron import cpu_adapter

        cpu_adapter.install()
