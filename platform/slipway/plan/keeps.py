"""The bytes that a trainer keeps of each parameter."""

from typing import NamedTuple

from slipway.config.schema import RunConfig
from slipway.optimizers import algorithm
from slipway.optimizers.kind import bytes_per_parameter

WAITING_GRADIENTS = 10**9  # whole gradients that Megatron-core's FSDP lets wait for their reduction
GATHERED_AHEAD = 10**9 // 2  # parameters that Megatron-core's FSDP gathers before they are needed


class Keeps(NamedTuple):
    """Bytes that a trainer keeps of each parameter; whole parameters and gradients if they are sharded."""

    parameter: int
    gradient: int
    state: int
    """The optimizer's state, with its own copy of the parameter."""
    of_matrix: int | None = None
    """The optimizer's state for hidden matrices; None: the same as for other parameters."""
    whole: int = 4
    """Bytes of a sharded parameter while it is whole."""
    ahead: int = GATHERED_AHEAD
    waiting: int = WAITING_GRADIENTS

    @classmethod
    def of(cls, config: RunConfig) -> "Keeps":
        """Return what this project's trainer keeps.

        Parameters are in the training precision; gradients are accumulated in fp32. The optimizer keeps its state in
        fp32 (AdamW: two moments; Muon: one of hidden matrices), in bf16 also an fp32 copy of the parameters: with AdamW
        8 or 12 bytes. FSDP keeps the fp32 copy in fp32 too.
        """
        each = 2 if config.training.precision == "bf16" else 4
        copies = each == 2 or config.parallelism.data_parallel_sharding_strategy is not None
        of_other, of_matrix = (
            bytes_per_parameter(algorithm(config), matrix) + 4 * copies for matrix in (False, True)
        )
        return cls(each, 4, of_other, of_matrix, whole=each)

    def states(self, parameters: int, matrices: int, ranks: int = 1) -> int:
        """Return the optimizer's bytes for so many parameters, of which `matrices` are in hidden matrices.

        ranks: how many have divided them, cut as they lie one behind the other; the bytes are those of the rank whose
        part takes most.
        """
        part, others = -(-parameters // ranks), parameters - matrices
        of_matrix = self.state if self.of_matrix is None else self.of_matrix
        others = min(part, others) if self.state >= of_matrix else part - min(part, matrices)
        return self.state * others + of_matrix * (part - others)
