"""A layer's mixture of experts as the trainer builds it, run once on one rank, for what is compared with it.

Reads overrides from standard input, as JSON; writes the layer's weights and buffers by name, what it was given, what it
returned, and the gradients of its input and weights, to the file named on the command line.
"""

import json
import sys
from typing import Any

from slipway.config.compose import compose
from slipway.engine.runtime import load_torch
from slipway.kernels.choice import backends
from slipway.models.gpt.config import gpt_of
from slipway.plan import make_plan


def main() -> None:
    """Build the whole model, run its last layer's mixture."""
    config = compose(json.load(sys.stdin))
    plan = make_plan(config).with_kernels(backends(load_torch(config, 1)))

    import torch
    from megatron.core.utils import get_attr_wrapped_model
    from torch.testing._internal.distributed.fake_pg import FakeStore

    from slipway.engine.megatron import build
    from slipway.engine.megatron.groups import _make_groups

    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=1)
    _make_groups(plan)
    chunk: Any = build.build_chunks(plan, torch.device("cpu"))[0]
    mixture: Any = get_attr_wrapped_model(chunk, "decoder").layers[-1].mlp
    generator = torch.Generator().manual_seed(5)
    for name, buffer in mixture.named_buffers():
        if name.endswith("expert_bias"):
            buffer.uniform_(-0.2, 0.2, generator=generator)
    length, samples, hidden = gpt_of(config).max_position_embeddings, 3, mixture.config.hidden_size
    x = torch.randn(length, samples, hidden, generator=generator)
    x = x.to(mixture.config.params_dtype).requires_grad_()
    output, _ = mixture(x)
    names, parameters = zip(*mixture.named_parameters(), strict=True)
    upstream = torch.randn(output.shape, generator=generator).to(output.dtype)
    gradients = torch.autograd.grad(output, [x, *parameters], upstream)
    state = {name: value.detach() for name, value in (*mixture.named_parameters(), *mixture.named_buffers())}
    torch.save(
        {
            "state": state,
            "input": x.detach(),
            "output": output.detach(),
            "upstream": upstream,
            "gradients": dict(zip(["input", *names], gradients, strict=True)),
        },
        sys.argv[1],
    )


if __name__ == "__main__":
    main()
