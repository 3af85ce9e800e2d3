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
    of_matrix: int | None = None
    """The same of hidden matrices; None: as much."""
    whole: int = 4
    """Bytes of a sharded parameter while it is whole."""
    ahead: int = GATHERED_AHEAD
    waiting: int = WAITING_GRADIENTS

    @classmethod
    def of(cls, config: RunConfig) -> "Keeps":
        """Of this project's trainer.

        Parameters in the training precision; gradients accumulated in fp32. The optimizer keeps its state in fp32
        (AdamW: two moments; Muon: one of hidden matrices), in bf16 also an fp32 copy of the parameters: with AdamW 8 or
        12 bytes. FSDP keeps the fp32 copy in fp32 too.
        """
        each = 2 if config.training.precision == "bf16" else 4
        copies = each == 2 or config.parallelism.data_parallel_sharding_strategy is not None
        of_other, of_matrix = (
            bytes_per_parameter(algorithm(config), matrix) + 4 * copies for matrix in (False, True)
        )
        return cls(each, 4, of_other, of_matrix, whole=each)

    def states(self, parameters: int, matrices: int, ranks: int = 1) -> int:
        """Return bytes of the optimizer's of so many parameters, of which so many are in hidden matrices.

        ranks: that have cut them as they lie one behind the other; of the rank whose part takes most.
        """
        part, others = -(-parameters // ranks), parameters - matrices
        of_matrix = self.state if self.of_matrix is None else self.of_matrix
        others = min(part, others) if self.state >= of_matrix else part - min(part, matrices)
        return self.state * others + of_matrix * (part - others)
