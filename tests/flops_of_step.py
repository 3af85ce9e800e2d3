"""Counts the operations of a step of the model that is built, by torch's own counter: no formula of the plan's.

One process is the one rank. Reads a JSON object {name: overrides} from standard input, and writes {name: operations of
all microbatches, or the error} to the file named on the command line.
"""

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import same_samples
from slipway.config.compose import compose
from slipway.engine.runtime import load_torch
from slipway.kernels.choice import backends
from slipway.plan import make_plan
from slipway.ranks.environment import Place


def count(overrides: list[str]) -> int:
    """Operations of forward and backward passes."""

    def watching() -> Sequence[AbstractContextManager[Any]]:
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        return FlopCounterMode(display=False), sdpa_kernel(SDPBackend.MATH)

    return compute(overrides, watching)[0].get_total_flops()


def compute(
    overrides: Sequence[str], watching: Callable[[], Sequence[AbstractContextManager[Any]]]
) -> list[Any]:
    """Compute one step of the model that is built, within contexts; return what they give on entry."""
    config = compose(overrides)
    plan = make_plan(config).with_kernels(backends(load_torch(config, 1)))

    import torch

    from slipway.engine.megatron import groups
    from slipway.train import setup, step
    from slipway.train.stopping import Stopping

    groups._join = _join
    device = groups.connect(plan, Place(0, 0, 1, "127.0.0.1", 0))
    try:
        same_samples.use(plan.config)
        session: Any = setup.set_up(plan, device)
        batches = step.read(session, session.train_data, session.validation_start, None)
        with ExitStack() as stack:
            entered = [stack.enter_context(one) for one in watching()]
            step.compute(session, batches, Stopping())
        session.close()
    finally:
        groups.disconnect()
    assert torch.is_grad_enabled()
    return entered


def _join(place: Place, backend: str) -> None:
    import torch
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)


def main(count: Callable[[list[str]], Any] = count) -> None:
    """Count each in turn."""
    found: dict[str, Any] = {}
    for name, overrides in json.load(sys.stdin).items():
        try:
            found[name] = count(overrides)
        except Exception:  # each has its own verdict
            found[name] = {"error": traceback.format_exc()}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
