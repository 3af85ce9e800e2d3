"""Builds one rank's part of a model on torch's meta device, and counts its parameters, without the plan's sums.

One process is one rank of many, with a process group that sends nothing. Reads a JSON object {name: [rank, overrides]}
from standard input, and writes {name: [dense, of experts], or the error} to the file named on the command line; with
`parameters` behind it, {name: [name, shape, whether of an expert] of each}.
"""

import json
import sys
import traceback
from math import prod
from pathlib import Path
from typing import Any

from slipway.config.compose import compose
from slipway.engine.runtime import load_torch
from slipway.kernels.choice import backends
from slipway.plan import make_plan


def count(rank: int, overrides: list[str]) -> list[int]:
    """Parameters of a rank: those that all replicas have, and those of experts."""
    counted = [0, 0]
    for _, shape, expert in parameters(rank, overrides):
        counted[expert] += prod(shape)
    return counted


def parameters(rank: int, overrides: list[str]) -> list[tuple[str, list[int], bool]]:
    """Name and shape of each, and whether it is an expert's."""
    config = compose(overrides)
    plan = make_plan(config).with_kernels(backends(load_torch(config, 1)))

    import torch
    from megatron.core import parallel_state
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from slipway.engine.megatron.build import stages_here
    from slipway.engine.megatron.groups import _make_groups
    from slipway.engine.megatron.settings import settings
    from slipway.models import network_of

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=rank, world_size=plan.world_size)
    found = []
    try:
        _make_groups(plan)
        for stage in stages_here(plan):
            first, layers = plan.stages[stage.index].spans[stage.chunk]
            with torch.device("meta"):
                built: Any = network_of(plan.trained).build(
                    plan.trained, range(first, first + layers), stage, settings(plan.trained)
                )
            for name, parameter in built.named_parameters():
                found.append((name, list(parameter.shape), not getattr(parameter, "allreduce", True)))
    finally:
        parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()
    return found


def main() -> None:
    """Count each in turn."""
    found: dict[str, Any] = {}
    answer = parameters if "parameters" in sys.argv else count
    for name, (rank, overrides) in json.load(sys.stdin).items():
        try:
            found[name] = answer(rank, overrides)
        except Exception:  # each has its own verdict
            found[name] = {"error": traceback.format_exc()}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
