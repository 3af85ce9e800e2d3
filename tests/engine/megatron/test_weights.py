"""Marks on the weights that tensor-parallel ranks hold parts of."""

import torch
from torch.nn import Parameter


class TERowParallelGroupedLinear(torch.nn.Module):
    """Named like Megatron-core's experts on Transformer Engine, with the same parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.weight0, self.weight1 = Parameter(torch.ones(2, 4)), Parameter(torch.ones(2, 4))


def test_weights_of_grouped_experts_are_marked_once() -> None:
    from slipway.engine.megatron.weights import (
        mark_tensor_parallel,
    )  # seconds, which collecting tests need not wait

    experts = torch.nn.Sequential(TERowParallelGroupedLinear(), torch.nn.Linear(2, 2))
    mark_tensor_parallel(experts)
    mark_tensor_parallel(experts)
    marks = {name: getattr(weight, "partition_dim", None) for name, weight in experts.named_parameters()}
    assert marks == {"0.weight0": 1, "0.weight1": 1, "1.weight": None, "1.bias": None}
