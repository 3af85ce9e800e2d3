"""The routing of a mixture's tokens in a step: the counts of this rank's routers, and what all counts say."""

import re
from collections.abc import Iterator, Sequence
from math import log

import torch
from megatron.core import parallel_state
from torch import Tensor

from slipway.config.schema import RunConfig
from slipway.models.family import Spread
from slipway.models.gpt.config import gpt_of
from slipway.models.gpt.spread import LAYER, PREDICTION, spread
from slipway.models.network import Handed
from slipway.models.transformer.routing import SUMS, CountingRouter

_PREDICTION = re.compile(r"(?:^|\.)mtp\.layers\.(\d+)\.")


def counted(config: RunConfig, modules: Sequence[torch.nn.Module]) -> Tensor:
    """Return the counts of each mixture layer and, if there is one, its bias, fp64 [numbers].

    Each rank has tokens of its own, also tensor-parallel ranks, since mixtures need sequence parallelism. See
    slipway.models.network.Counting.
    """
    device = next(parameter.device for module in modules for parameter in module.parameters())
    told = spread(config)
    if told is None:
        return torch.zeros(0, dtype=torch.float64, device=device)
    found = torch.zeros(len(told.places), _width(config, told), dtype=torch.float64, device=device)
    for place, router in _routers(modules):
        row, counts = found[told.places.index(place)], router.take()
        if counts is not None:
            row[: told.size + SUMS] = counts
        if router.expert_bias is not None and _first_of_replicas():
            row[told.size + SUMS :] = router.expert_bias
    return found.view(-1)


def handed(config: RunConfig, sums: Tensor) -> Handed:
    """Return the loads, entropy and biases that the counts say. sums: of `counted` over all ranks, fp64 [numbers]."""
    told = spread(config)
    assert told is not None
    rows = sums.view(len(told.places), _width(config, told))
    counts, (entropies, tokens) = rows[:, : told.size], rows[:, told.size : told.size + SUMS].unbind(1)
    sent = told.chosen * tokens.sum()
    measures = {
        "router_entropy": float((entropies / tokens).mean()) / log(told.size) if told.size > 1 else 1.0,
        "tokens_dropped": float((sent - counts.sum()) / sent),
    }
    if not gpt_of(config).moe_router_enable_expert_bias:
        return Handed(counts, measures, {})
    bias = rows[:, told.size + SUMS :]
    measures |= {"expert_bias_min": float(bias.min()), "expert_bias_max": float(bias.max())}
    return Handed(counts, measures, {"bias": bias})


def _width(config: RunConfig, told: Spread) -> int:
    return told.size + SUMS + (told.size if gpt_of(config).moe_router_enable_expert_bias else 0)


def _routers(modules: Sequence[torch.nn.Module]) -> Iterator[tuple[str, CountingRouter]]:
    """Yield each router with its place in the Spread. Megatron-core numbers layers from 1, and prediction's anew."""
    for module in modules:
        for name, part in module.named_modules():
            if isinstance(part, CountingRouter):
                if ahead := _PREDICTION.search(name):
                    yield PREDICTION.format(ahead[1]), part
                    continue
                assert part.layer_number is not None
                yield LAYER.format(part.layer_number - 1), part


def _first_of_replicas() -> bool:
    """Return whether this is the first of the ranks that hold the same stage, which all have the same bias."""
    return (
        parallel_state.get_tensor_model_parallel_rank() == 0
        and parallel_state.get_data_parallel_rank(with_context_parallel=True) == 0
    )
