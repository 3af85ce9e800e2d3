"""What a trainer keeps of each parameter."""

from typing import NamedTuple

from slipway.config.schema import RunConfig
from slipway.optimizers import algorithm
from slipway.optimizers.kind import bytes_per_parameter

WAITING_GRADIENTS = 10**9  # whole ones that Megatron-core's FSDP lets wait for their reduction
GATHERED_AHEAD = 10**9 // 2  # parameters that it gathers before they are needed


class Keeps(NamedTuple):
    """What a trainer keeps. Bytes of each parameter; whole parameters and gradients where they are sharded."""

    parameter: int
    gradient: int
    state: int
    """The optimizer's, its own copy of the parameter among it."""
    whole: int = 4
    """Bytes of a sharded parameter while it is whole."""
    ahead: int = GATHERED_AHEAD
    waiting: int = WAITING_GRADIENTS

    @classmethod
    def of(cls, config: RunConfig) -> "Keeps":
        """Of this project's trainer.

        Parameters in the training precision; gradients accumulated in fp32. The optimizer keeps its state in fp32
        (AdamW: two moments), in bf16 also an fp32 copy of the parameters: with AdamW 8 or 12 bytes. FSDP keeps the
        fp32 copy in fp32 too.
        """
        each = 2 if config.training.precision == "bf16" else 4
        copies = each == 2 or config.parallelism.data_parallel_sharding_strategy is not None
        return cls(each, 4, bytes_per_parameter(algorithm(config)) + 4 * copies, whole=each)
