"""A family's own torch module as a stage of Megatron-core's pipeline."""

from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.parallel_state import get_data_parallel_rank, get_tensor_model_parallel_rank
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor


class PlainStage(MegatronModule):
    """A stage around any module, as Megatron-core's schedules, reductions and checkpoints expect it."""

    share_embeddings_and_output_weights = False

    def __init__(self, transformer: TransformerConfig, inner: torch.nn.Module) -> None:
        super().__init__(transformer)
        self.inner, self.pre_process = inner, False  # finalize_model_grads reads pre_process
        self.received: Tensor | None = None
        """The states that the stage before has sent."""

    def set_input_tensor(self, tensors: list[Tensor | None] | Tensor | None) -> None:
        """Store the states, [length, samples, width], that Megatron-core's schedules received from the stage before."""
        self.received = tensors[0] if isinstance(tensors, list) else tensors

    def forward(self, *words: Any, **named: Any) -> Any:
        """Return the module's own output."""
        return self.inner(*words, **named)

    def sharded_state_dict(self, prefix: str = "", *_: Any, **__: Any) -> dict[str, Any]:
        """Return parameters and persistent buffers under the module's own names: whole on every replica."""
        replica = (0, get_tensor_model_parallel_rank(), get_data_parallel_rank(with_context_parallel=True))
        return {
            f"inner.{name}": ShardedTensor.from_rank_offsets(name, tensor, replica_id=replica)
            for name, tensor in self.inner.state_dict(keep_vars=True).items()
        }
